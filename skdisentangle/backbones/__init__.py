"""Frozen backbones as scikit-learn transformers: images or texts in, features out.

They need Pillow and, for texts, sentence-transformers: ``pip install
'skdisentangle[backbones]'``.
"""

from ._image import ImageEmbedder
from ._mobilenet import MobileNetV2
from ._text import TextEmbedder

__all__ = ["ImageEmbedder", "MobileNetV2", "TextEmbedder"]
