"""Named points of the face on the base mesh, and where the unposed head looks."""

from __future__ import annotations

__all__ = ["LANDMARKS", "NEUTRAL_PITCH_DEG"]

NEUTRAL_PITCH_DEG = -1.0
"""Pitch that 300W-LP's annotation gives the unposed head.

Measured in two ways that differ by little: a similarity fit of its 68-point mean face (AFLW2000
sample, turned back by its labels) to the landmarks of all adult identities gives +0.6 (spread 2.5);
FSA-Net's bias on rendered heads, less its bias on the photographs, gives -3.
"""

LANDMARKS: dict[str, int] = {
    "right_brow_outer": 261,
    "right_brow_inner": 209,
    "left_brow_inner": 6984,
    "left_brow_outer": 7030,
    "right_eye_outer": 6759,
    "right_eye_inner": 6769,
    "left_eye_inner": 13365,
    "left_eye_outer": 13355,
    "nose_tip": 294,
    "right_nose_wing": 5056,
    "left_nose_wing": 11673,
    "right_mouth": 500,
    "left_mouth": 7139,
    "upper_lip": 7222,
    "lower_lip": 496,
    "chin": 5171,
    "right_jaw_low": 893,
    "left_jaw_low": 7595,
    "right_jaw_ear": 5205,
    "left_jaw_ear": 11816,
    "right_ear": 5506,
    "left_ear": 12105,
}
"""Vertices of the base mesh; left and right are the person's own."""
