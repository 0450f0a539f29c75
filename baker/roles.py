"""Which joint of any skeleton is the left knee: by the names tools give, or by the skeleton's structure.

Roles are SMPL-X's joint names. Letters: J joints.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from baker.body import FINGERS

SIDES = ("left", "right")
LIMBS = ("hip", "knee", "ankle", "foot", "collar", "shoulder", "elbow", "wrist")
CORE = tuple(f"{side}_{limb}" for side in SIDES for limb in ("hip", "knee", "ankle", "shoulder", "elbow", "wrist"))
"""Without these a motion cannot be retargeted."""

WORDS: dict[str, tuple[str, ...]] = {
    "hip": ("upleg", "upperleg", "thigh", "femur", "legupper", "leg1", "hip"),
    "knee": ("lowleg", "lowerleg", "loleg", "leglower", "shin", "calf", "tibia", "knee", "leg2", "leg"),
    "ankle": ("ankle", "foot", "feet"),
    "foot": ("toebase", "toe", "toes", "ball", "foot"),
    "collar": ("clavicle", "collar", "shoulder", "clav"),
    "shoulder": ("upperarm", "uparm", "armupper", "humerus", "arm1", "arm", "shoulder"),
    "elbow": ("forearm", "lowerarm", "loarm", "lowarm", "armlower", "radius", "elbow", "arm2"),
    "wrist": ("wrist", "hand", "palm"),
}
"""Words for each joint of a limb once side and numbers are taken off, the surest first."""
IGNORED = re.compile(r"ik|ctrl|control|pole|target|twist|roll|helper|hipjoint|socket|slot|end$|nub$|effector|"
                     r"metacarpal|carpal$|pelvis|buttock|breast|scapula|^_|tongue|eye(?!$)")
"""Joints that drive, hold or correct, and are no part of a limb."""
FINGER_WORDS = {"index": "index", "pointer": "index", "finger2": "index", "middle": "middle", "finger3": "middle",
                "ring": "ring", "finger4": "ring", "pinky": "pinky", "little": "pinky", "finger5": "pinky",
                "thumb": "thumb", "finger1": "thumb"}
SIDE_PATTERNS = (
    (re.compile(r"left|(?:^|[ ._:-])l(?=[ ._:-]|$)", re.I), re.compile(r"right|(?:^|[ ._:-])r(?=[ ._:-]|$)", re.I)),
    (re.compile(r"^l(?=[A-Z])|^l(?=(?:femur|tibia|foot|toe|clavicle|humerus|radius|wrist|hand|fingers|thumb|hip|"
                r"knee|ankle|shoulder|elbow|collar|up|lo|thigh|shin|calf|arm|leg))|(?<=[a-z0-9])L$|^L(?=[A-Z])"),
     re.compile(r"^r(?=[A-Z])|^r(?=(?:femur|tibia|foot|toe|clavicle|humerus|radius|wrist|hand|fingers|thumb|hip|"
                r"knee|ankle|shoulder|elbow|collar|up|lo|thigh|shin|calf|arm|leg))|(?<=[a-z0-9])R$|^R(?=[A-Z])")),
)
PREFIX = re.compile(r"^(mixamorig\d*[:_]?|bip\d*[ _]|character\d*_|cc_base_|valvebiped[._]|j_bip_|def[-_]|"
                    r".*[:|])", re.I)


def match_roles(names: Sequence[str], parents: np.ndarray, positions: np.ndarray, *,
                stated: Iterable[tuple[str, str]] = ()) -> dict[str, int]:
    """Joint index of every role found; `positions` [J 3] are joints in some pose of the skeleton.

    Roles the file states come first, then the names, then, where limbs are not complete, the structure. The result
    has `pelvis` and all of `CORE`, or is empty: then the skeleton is not a person's.
    """
    index = {name: i for i, name in enumerate(names)}
    found = {role: index[name] for role, name in stated if name in index}
    named = {**_by_name(names, parents), **found}
    if not _complete(named, parents):
        named = _by_structure(names, parents, positions)
        if not _complete(named, parents):
            return {}
    return _with_spine({role: i for role, i in named.items() if not role.startswith("spine")}, names, parents)


def chain(parents: np.ndarray, joint: int) -> list[int]:
    """The joint and its ancestors, up to the root."""
    path = [joint]
    while parents[path[-1]] >= 0:
        path.append(int(parents[path[-1]]))
    return path


def _complete(roles: Mapping[str, int], parents: np.ndarray) -> bool:
    """All of CORE is there, every joint once, and limbs run outward."""
    if any(role not in roles for role in CORE) or len({roles[role] for role in CORE}) < len(CORE):
        return False
    for side in SIDES:
        for near, far in (("hip", "knee"), ("knee", "ankle"), ("shoulder", "elbow"), ("elbow", "wrist")):
            if roles[f"{side}_{near}"] not in chain(parents, roles[f"{side}_{far}"])[1:]:
                return False
    return True


def _parse(name: str) -> tuple[str, str]:
    """(side or '', the rest in lower case without separators) of a joint's name."""
    bare = PREFIX.sub("", name) or name
    for left, right in SIDE_PATTERNS:
        for side, pattern in (("left", left), ("right", right)):
            if pattern.search(bare):
                bare = pattern.sub(" ", bare, count=1)
                return side, re.sub(r"[^a-z0-9]", "", bare.lower())
    return "", re.sub(r"[^a-z0-9]", "", bare.lower())


def _by_name(names: Sequence[str], parents: np.ndarray) -> dict[str, int]:
    parsed = [_parse(name) for name in names]
    roles: dict[str, int] = {}
    for side in SIDES:
        words: dict[str, list[int]] = {}
        for i, (s, word) in enumerate(parsed):
            if names[i].startswith("__"):  # MakeHuman's doubles of joints that hang on another bone's end
                continue
            finger = _finger(word)
            if s == side and finger is None and not IGNORED.search(_spaced(names[i])):
                words.setdefault(re.sub(r"\d+$|^\d+", "", word) or word, []).append(i)
                words.setdefault(word, []).append(i)
            if s == side and finger is not None:
                roles.setdefault(f"{side}_{finger[0]}{finger[1]}", i)
        taken: set[int] = set()
        # The surest words first, so that 'shoulder' is the collar beside 'arm' and the arm beside 'collar'.
        for limb in ("hip", "knee", "ankle", "foot", "elbow", "wrist", "shoulder", "collar"):
            for word in WORDS[limb]:
                free = [i for i in words.get(word, ()) if i not in taken]
                if not free or _other_sense(limb, word, words):
                    continue
                roles[f"{side}_{limb}"] = free[0]
                taken.add(free[0])
                break
    for word, role in (("neck", "neck"), ("head", "head"), ("jaw", "jaw")):
        plain = [i for i, (s, w) in enumerate(parsed) if not s and re.fullmatch(rf"{word}\d*|lower{word}", w)
                 and not names[i].startswith("__")]
        if plain:
            roles[role] = plain[0]
    if "head" in roles and "neck" in roles and roles["neck"] not in chain(parents, roles["head"])[1:]:
        del roles["neck"]
    return _numbered_fingers(roles)


def _spaced(name: str) -> str:
    return (PREFIX.sub("", name) or name).lower()


def _other_sense(limb: str, word: str, words: Mapping[str, list[int]]) -> bool:
    """The word means another joint of this skeleton."""
    has = lambda *options: any(option in words for option in options)  # noqa: E731
    if limb == "foot" and word == "foot":
        return not has("ankle")
    if limb == "ankle" and word == "foot":
        return has("ankle")
    if limb == "hip" and word == "hip":
        return has(*WORDS["hip"][:-1]) or not has("knee", "shin", "calf", "leg", "lowerleg")
    if limb == "knee" and word == "leg":
        return not has("upleg", "upperleg", "thigh", "hip", "femur")
    if limb == "shoulder" and word == "shoulder":
        return has("arm", "upperarm", "uparm", "humerus")
    if limb == "shoulder" and word == "arm":
        return has("upperarm", "uparm")
    if limb == "collar" and word == "shoulder":
        return has("clavicle", "collar", "clav")
    return False


def _finger(word: str) -> tuple[str, int] | None:
    """(finger, number) of 'handindex2', 'index02', 'finger21', 'finger2-1'; None for other joints."""
    for key, finger in FINGER_WORDS.items():
        match = re.search(rf"{key}(?:finger)?(?:proximal|intermediate|distal|0*(\d))?", word)
        if match is None or (key == "ring" and "string" in word):
            continue
        if "proximal" in word:
            return finger, 1
        if "intermediate" in word:
            return finger, 2
        if "distal" in word:
            return finger, 3
        return finger, int(match.group(1) or 1)
    return None


def _numbered_fingers(roles: dict[str, int]) -> dict[str, int]:
    """Fingers counted from 1, three joints each."""
    for side in SIDES:
        for finger in FINGERS:
            numbers = [n for n in range(10) if f"{side}_{finger}{n}" in roles]
            joints = [roles.pop(f"{side}_{finger}{n}") for n in numbers]
            roles |= {f"{side}_{finger}{n + 1}": joint for n, joint in enumerate(joints[:3])}
    return roles


def _with_spine(roles: dict[str, int], names: Sequence[str], parents: np.ndarray) -> dict[str, int]:
    """Pelvis, chest (`spine3`), neck and head from where the limbs branch."""
    legs = [chain(parents, roles[f"{side}_hip"]) for side in SIDES]
    arms = [chain(parents, roles[f"{side}_shoulder"]) for side in SIDES]
    common = [i for i in legs[0][1:] if i in legs[1][1:]]
    chest = next((i for i in arms[0][1:] if i in arms[1][1:]), -1)
    # What carries the thighs; MakeHuman's hips are beside the spine.
    pelvis = common[0] if common else -1
    if pelvis < 0 or chest < 0:
        return {}
    # A collar that is no joint of its own branch (the chest itself) is none.
    for side in SIDES:
        collar = roles.get(f"{side}_collar")
        above = chain(parents, roles[f"{side}_shoulder"])[1:]
        if collar is not None and (collar in (chest, pelvis) or collar not in above):
            del roles[f"{side}_collar"]
    roles["pelvis"] = pelvis
    if chest != pelvis:
        roles["spine3"] = chest
    if "head" not in roles:
        above = [i for i in range(len(names)) if parents[i] == chest and i not in (*arms[0], *arms[1])]
        line: list[int] = []
        for start in above[:1]:
            line = [start]
            while len(children := [i for i in range(len(names)) if parents[i] == line[-1]]) == 1:
                line.append(children[0])
        if line:
            roles["head"] = line[min(1, len(line) - 1)]
    if "head" in roles and "neck" not in roles:
        between = [i for i in chain(parents, roles["head"])[1:] if chest in chain(parents, i)[1:]]
        if between:
            roles["neck"] = between[-1]
    return roles


# -- by structure -------------------------------------------------------------------------------------------------


def _by_structure(names: Sequence[str], parents: np.ndarray, positions: np.ndarray) -> dict[str, int]:
    """Limbs from the tree and the joints' places: legs are the two long mirror branches downward, arms the two long
    ones further up. Left and right from names where they say so, else from where the toes point."""
    count = len(parents)
    children: list[list[int]] = [[] for _ in range(count)]
    for i, parent in enumerate(parents):
        if parent >= 0:
            children[parent].append(i)
    reach = np.zeros(count)
    for i in range(count - 1, -1, -1):
        bones = [reach[c] + np.linalg.norm(positions[c] - positions[i]) for c in children[i]]
        reach[i] = max(bones, default=0.0)
    size = reach.max()
    long = [[c for c in children[i] if reach[c] + np.linalg.norm(positions[c] - positions[i]) > 0.15 * size
             and len(_line(c, children, reach, positions)) >= 3] for i in range(count)]
    forks = [i for i in range(count) if len(long[i]) >= 2]
    best: tuple[float, dict[str, int]] | None = None
    for pelvis in forks:
        for chest in forks:
            # The spine may hang on the pelvis or beside it.
            inner = set(chain(parents, chest))
            legs = _mirror_pair([c for c in long[pelvis] if c not in inner], positions, children, reach)
            arms = _mirror_pair([c for c in long[chest] if c not in chain(parents, pelvis)
                                 and (legs is None or c not in legs[1])], positions, children, reach)
            if legs is None or arms is None or (best is not None and legs[0] + arms[0] >= best[0]):
                continue
            roles = _limb_roles(legs[1], arms[1], names, positions, children, reach)
            if roles:
                best = legs[0] + arms[0], roles
    return best[1] if best else {}


def _line(start: int, children: Sequence[Sequence[int]], reach: np.ndarray, positions: np.ndarray) -> list[int]:
    """The longest way outward from a joint."""
    line = [start]
    while children[line[-1]]:
        here = line[-1]
        line.append(max(children[here], key=lambda c: reach[c] + np.linalg.norm(positions[c] - positions[here])))
    return line


def _mirror_pair(candidates: Sequence[int], positions: np.ndarray, children: Sequence[Sequence[int]],
                 reach: np.ndarray) -> tuple[float, tuple[int, int]] | None:
    """The two branches most alike in length and number of joints, and how much they differ."""
    best: tuple[float, tuple[int, int]] | None = None
    for k, a in enumerate(candidates):
        for b in candidates[k + 1:]:
            lengths = reach[a], reach[b]
            steps = len(_line(a, children, reach, positions)), len(_line(b, children, reach, positions))
            unlike = abs(lengths[0] - lengths[1]) / max(*lengths, 1e-9) + 0.2 * abs(steps[0] - steps[1])
            if unlike < 0.35 and (best is None or unlike < best[0]):
                best = unlike, (a, b)
    return best


def _limb_roles(legs: tuple[int, int], arms: tuple[int, int], names: Sequence[str], positions: np.ndarray,
                children: Sequence[Sequence[int]], reach: np.ndarray) -> dict[str, int]:
    roles: dict[str, int] = {}
    lines = {joint: _line(joint, children, reach, positions) for joint in (*legs, *arms)}
    found: dict[int, tuple[int, int, int]] = {}
    for joint, line in lines.items():
        # Several fingers grow from a hand: the limb ends there.
        hand = next((k for k, i in enumerate(line) if k >= 2 and len(children[i]) >= 3), len(line) - 1)
        limb = _three_joints(line[: hand + 1], positions, reach, leg=joint in legs)
        if limb is None:
            return {}
        found[joint] = limb
    length = {joint: sum(float(np.linalg.norm(positions[b] - positions[a])) for a, b in itertools.pairwise(limb))
              for joint, limb in found.items()}
    if min(length[joint] for joint in legs) < max(length[joint] for joint in arms):
        return {}
    hips = 0.5 * (positions[found[legs[0]][0]] + positions[found[legs[1]][0]])
    up = 0.5 * (positions[found[arms[0]][0]] + positions[found[arms[1]][0]]) - hips
    forward = sum(positions[lines[leg][-1]] - positions[found[leg][2]] for leg in legs)
    left_axis = np.cross(up, forward)
    for kind, pair in (("leg", legs), ("arm", arms)):
        said = [_parse(names[joint])[0] or _parse(names[found[joint][0]])[0] for joint in pair]
        lateral = [float((positions[found[joint][1]] - hips) @ left_axis) for joint in pair]
        first_is_left = said[0] == "left" if set(said) == {"left", "right"} else lateral[0] > lateral[1]
        for joint, side in zip(pair, SIDES if first_is_left else SIDES[::-1], strict=True):
            limb = ("hip", "knee", "ankle") if kind == "leg" else ("shoulder", "elbow", "wrist")
            roles |= {f"{side}_{name}": at for name, at in zip(limb, found[joint], strict=True)}
            line, start = lines[joint], lines[joint].index(found[joint][0])
            if kind == "arm" and start > 0:
                roles[f"{side}_collar"] = line[start - 1]
            after = line[line.index(found[joint][2]) + 1:]
            if kind == "leg" and after:
                roles[f"{side}_foot"] = after[0]
    return roles


def _three_joints(line: Sequence[int], positions: np.ndarray, reach: np.ndarray, *,
                  leg: bool) -> tuple[int, int, int] | None:
    """Hip, knee and ankle (shoulder, elbow and wrist) on a limb's joints: where the two bones are longest, alike
    and straight.

    Past the ankle the limb turns, so the way there is longer than the distance; past the wrist there is more hand;
    before the hip or the shoulder lie short bones.
    """
    best, found = -np.inf, None
    steps = [float(np.linalg.norm(positions[b] - positions[a])) for a, b in itertools.pairwise(line)]
    for s in range(min(3, len(line) - 2)):
        for e in range(s + 2, len(line)):
            for m in range(s + 1, e):
                a, b, c = (positions[line[i]] for i in (s, m, e))
                upper, lower = float(np.linalg.norm(b - a)), float(np.linalg.norm(c - b))
                detour = sum(steps[s:m]) - upper + sum(steps[m:e]) - lower
                score = min(upper, lower) - 0.5 * abs(upper - lower) - 2 * detour - 0.25 * reach[line[e]]
                if reach[line[e]] == 0:
                    score -= (0.05 if leg else 0.2) * (upper + lower)
                # On a tie (a bone of no length before the hip) the inner joint turns the limb.
                if score > best - (1e-6 if s else 0.0):
                    best, found = score, (line[s], line[m], line[e])
    return found
