"""A small student over faces, with weights drawn at random."""

from bundles import described, drawn

from pkdot.descriptions import EmbedderDescription, PluginDescription
from pkdot.inference.bundle import ModalityDescription, write_bundle

FEATURE = {"frames": 4, "window": [0.5, 2.0], "size": 48}


def write_face_bundle(folder, regression=False):
    """A window is 2 s long; its frames lie in the last 1.5 s of it. Values are of the four frames of every token."""
    said = described(regression)
    shape = [FEATURE["frames"], FEATURE["size"], FEATURE["size"], 3]
    encoder = PluginDescription(name="small_r3d", options={"width": 4})
    student = said.network.student.model_copy(update={"prevalent": 6})
    said = said.model_copy(
        update={
            "modalities": {
                "face": ModalityDescription(
                    source="video",
                    feature=PluginDescription(name="faces", options=FEATURE),
                    shape=shape,
                    dtype="uint8",
                    seconds=2.0 if regression else None,
                    rate=None,
                )
            },
            "encoders": {"face": EmbedderDescription(encoder=encoder, shape=shape, dim=6, tokens=2)},
            "network": said.network.model_copy(update={"student": student, "modalities": ["face"]}),
        }
    )
    write_bundle(folder, said, drawn(said))
    return folder
