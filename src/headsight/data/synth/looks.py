"""Who a person is: identity, skin, hair, hat, glasses, clothes and expression, drawn at random."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headsight.data.synth.assets import Assets
from headsight.data.synth.bodies import Bodies
from headsight.data.synth.colours import CLOTHES, EYES, HAIR, HARD_HATS
from headsight.data.synth.wear import HATS

__all__ = ["Look", "random_look"]


@dataclass(frozen=True)
class Look:
    """Everything that is drawn at random about a person, apart from place and pose."""

    identity: int
    skin: str
    """Texture name, or "" for plain skin."""
    hair: str
    """Garment name, "bald", or a plain style."""
    hair_name: str
    clothes: str
    clothes_name: str
    hat: str
    hat_name: str
    glasses: str
    eye_name: str
    beard: float
    actions: tuple[tuple[str, float], ...]
    seed: int


def random_look(
    rng: np.random.Generator, bodies: Bodies, assets: Assets | None, split: str
) -> Look:
    """A person's look; held-out looks use other identities."""
    edge = len(bodies) * 4 // 5
    identity = int(rng.integers(0, edge) if split == "train" else rng.integers(edge, len(bodies)))
    is_woman = bodies.trait(identity, "gender") > 0.5
    age = bodies.trait(identity, "age")
    hair_name = str(rng.choice(list(HAIR), p=_hair_odds(bodies, identity)))
    hat = str(rng.choice(("none", *HATS), p=(0.62, 0.17, 0.09, 0.06, 0.06)))
    hat_name = str(rng.choice(HARD_HATS, p=(0.32, 0.27, 0.14, 0.12, 0.10, 0.05)))
    if hat != "hard hat":
        hat_name = str(rng.choice(list(CLOTHES)))
    is_child = age < 0.52
    beard = 0.0
    if not is_woman and not is_child and rng.random() < 0.45:
        beard = float(rng.uniform(0.15, 0.95))
    glasses = str(rng.choice(("none", "glasses", "sunglasses"), p=(0.74, 0.19, 0.07)))
    return Look(
        identity=identity,
        skin=_skin_name(rng, bodies, identity, assets),
        hair=_hair_style(rng, is_woman, age, assets),
        hair_name=hair_name,
        clothes=_clothes_style(rng, is_woman, assets),
        clothes_name=str(rng.choice(list(CLOTHES))),
        hat=hat,
        hat_name=hat_name if hat != "none" else "none",
        glasses=glasses if not is_child else "none",
        eye_name=str(rng.choice(list(EYES), p=(0.35, 0.3, 0.17, 0.1, 0.08))),
        beard=beard,
        actions=_expression(rng),
        seed=int(rng.integers(0, 2**31)),
    )


def _hair_odds(bodies: Bodies, identity: int) -> NDArray[np.float64]:
    pale = bodies.trait(identity, "caucasian")
    age = bodies.trait(identity, "age")
    odds = np.array([0.55, 0.25, 0.1, 0.02, 0.01, 0.02, 0.01]) * (1 - pale)
    odds += np.array([0.12, 0.24, 0.28, 0.22, 0.08, 0.04, 0.02]) * pale
    odds[5:] += np.array([0.6, 0.4]) * float(np.clip((age - 0.8) * 4, 0, 0.8))
    result: NDArray[np.float64] = odds / odds.sum()
    return result


def _skin_name(
    rng: np.random.Generator, bodies: Bodies, identity: int, assets: Assets | None
) -> str:
    if assets is None:
        return ""
    age = bodies.trait(identity, "age")
    words = (
        "old" if age > 0.9 else "middleage" if age > 0.76 else "young",
        "darkskinned"
        if bodies.trait(identity, "african") > rng.uniform(0.3, 0.6)
        else "lightskinned",
        "female" if bodies.trait(identity, "gender") > 0.5 else "male",
    )
    fitting = [n for n in assets.skins if n.split("_")[:3] == list(words)]
    return str(rng.choice(fitting or list(assets.skins)))


def _hair_style(rng: np.random.Generator, is_woman: bool, age: float, assets: Assets | None) -> str:
    if rng.random() < (0.03 if is_woman else 0.10 + 0.25 * (age > 0.85)):
        return "bald"
    if assets is None or rng.random() < 0.07:
        styles = ("cap", "bob", "long", "short") if is_woman else ("short", "cap", "short", "bob")
        return str(rng.choice(styles))
    wanted = "female" if is_woman else "male"
    fitting = [
        g.name for g in assets.hair if wanted in g.tags or not {"male", "female"} & set(g.tags)
    ]
    if rng.random() < 0.12:
        fitting = [g.name for g in assets.hair]
    return str(rng.choice(fitting or [g.name for g in assets.hair]))


def _clothes_style(rng: np.random.Generator, is_woman: bool, assets: Assets | None) -> str:
    if assets is None or rng.random() < 0.25:
        return str(rng.choice(("shirt", "t-shirt", "jumper")))
    wanted = "female" if is_woman else "male"
    fitting = [g.name for g in assets.clothes if g.name.startswith(wanted)]
    return str(rng.choice(fitting or [g.name for g in assets.clothes]))


def _expression(rng: np.random.Generator) -> tuple[tuple[str, float], ...]:
    """Facial actions: rest, smile, speech, surprise or frown, with eyes that look and blink."""
    actions: dict[str, float] = {}

    def both(name: str, strength: float) -> None:
        for side in ("Left", "Right"):
            actions[name + side] = float(np.clip(strength * rng.uniform(0.85, 1.15), 0, 1))

    kind = rng.choice(
        ("rest", "smile", "speech", "surprise", "frown"), p=(0.35, 0.3, 0.2, 0.07, 0.08)
    )
    if kind == "smile":
        strength = rng.uniform(0.2, 0.9)
        both("mouthSmile", strength)
        both("cheekSquint", 0.6 * strength)
        if rng.random() < 0.5:
            actions["jawOpen"] = float(rng.uniform(0.02, 0.18))
    elif kind == "speech":
        actions["jawOpen"] = float(rng.uniform(0.05, 0.4))
        actions[str(rng.choice(("mouthFunnel", "mouthPucker", "mouthShrugUpper")))] = float(
            rng.uniform(0, 0.4)
        )
    elif kind == "surprise":
        actions["jawOpen"] = float(rng.uniform(0.2, 0.6))
        actions["browInnerUp"] = float(rng.uniform(0.3, 0.9))
        both("eyeWide", rng.uniform(0.2, 0.8))
    elif kind == "frown":
        both("browDown", rng.uniform(0.3, 0.9))
        both("mouthFrown", rng.uniform(0.1, 0.7))
    both("eyeBlink", 1.0 if rng.random() < 0.07 else rng.uniform(0.0, 0.28))
    side = rng.normal(0, 0.35)
    for eye in ("Left", "Right"):
        toward = side if eye == "Left" else -side
        actions["eyeLook" + ("Out" if toward > 0 else "In") + eye] = float(min(abs(toward), 0.8))
    both("eyeLookDown" if rng.random() < 0.5 else "eyeLookUp", abs(rng.normal(0, 0.2)))
    return tuple(actions.items())
