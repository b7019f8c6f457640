"""Reads picture paths from stdin and answers each with its face landmarks, one JSON line a picture.

Run by a Python of its own that has mediapipe 0.10.14 and pillow (see `mediapipe_mesh.py`).
"""

from __future__ import annotations

import json
import sys

import mediapipe
import numpy as np
from PIL import Image

mesh = mediapipe.solutions.face_mesh.FaceMesh(
    static_image_mode=True, max_num_faces=20, min_detection_confidence=0.3
)
for line in sys.stdin:
    with Image.open(line.rstrip("\n")) as file:
        pixels = np.asarray(file.convert("RGB"))
    height, width = pixels.shape[:2]
    faces = mesh.process(pixels).multi_face_landmarks or []
    points = [[(p.x * width, p.y * height, p.z * width) for p in f.landmark] for f in faces]
    print(json.dumps(points), flush=True)
