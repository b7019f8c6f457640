"""Other people's head pose and face networks, for measurements only, never dependencies.

Each pose peer has a `name` and `poses(images, boxes) -> rotations`: one head box (xyxy px, of the
whole head) an image, rotations (n, 3, 3) head to camera in our frame.
"""

from __future__ import annotations

from types import ModuleType

from peers import fsanet, mb05, whenet

POSE_PEERS: dict[str, ModuleType] = {"fsanet": fsanet, "whenet": whenet, "mb05": mb05}
"""The peers that read a pose from a crop."""
