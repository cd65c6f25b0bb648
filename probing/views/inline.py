"""A figure's SVG as a part of an HTML page, on which several stand beside each other."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ElementTree

REFERENCE = re.compile(r"url\(#|^#")
DROPPED = ("metadata", "style")  # where it comes from; a style that would be the whole page's


def fragment(svg: str, name: str) -> str:
    """The <svg> element without namespaces, its ids prefixed by the figure's name."""
    root = ElementTree.fromstring(svg)
    for parent in list(root.iter()):
        for child in list(parent):
            if _local(child.tag) in DROPPED:
                parent.remove(child)
    for element in root.iter():
        element.tag = _local(element.tag)
        attributes = {_local(key): value for key, value in element.attrib.items()}
        element.attrib.clear()
        for key, value in attributes.items():
            if key == "id":
                value = f"{name}-{value}"
            elif "#" in value:
                value = REFERENCE.sub(lambda found: f"{found[0]}{name}-", value)
            element.set(key, value)
    for size in ("width", "height", "version"):
        root.attrib.pop(size, None)
    root.set("role", "img")
    root.set("aria-label", name.replace("_", " "))
    root.set(
        "style", "stroke-linejoin: round; stroke-linecap: butt"
    )  # as the style that is dropped
    return ElementTree.tostring(root, encoding="unicode", short_empty_elements=False)


def _local(name: str) -> str:
    return name.rpartition("}")[2]
