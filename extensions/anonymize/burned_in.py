"""Whether text may be burned into the pixels, as far as an object says. No I/O."""

from __future__ import annotations

# Screens, ultrasound, endoscopy and photographs: there, silence is no "no" (PS3.3 C.7.6.1.1.7).
_LIKELY = (
    "1.2.840.10008.5.1.4.1.1.7",
    "1.2.840.10008.5.1.4.1.1.3",
    "1.2.840.10008.5.1.4.1.1.6",
    "1.2.840.10008.5.1.4.1.1.77.1.1",
    "1.2.840.10008.5.1.4.1.1.77.1.2",
    "1.2.840.10008.5.1.4.1.1.77.1.4",
)


def may_be_burned_in(sop_class_uid: str, burned_in_annotation: str) -> bool:
    """Whether the object says so, or says nothing and is of a kind that usually has it."""
    match burned_in_annotation.strip().upper():
        case "NO":
            return False
        case "":
            return any(f"{sop_class_uid}.".startswith(f"{root}.") for root in _LIKELY)
    return True
