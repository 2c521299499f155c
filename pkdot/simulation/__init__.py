"""Data that the project makes itself: drawn stand-ins for licensed data, and recordings that a package carries.

No other room imports these modules; a data set names its preparation, and the stage ``prepare`` runs it. So an edit
here never changes the hash of the code that reads data.
"""
