"""Pretrained backbones for images and texts, frozen or fine-tuned.

They need Pillow and, for texts, sentence-transformers: ``pip install
'skdisentangle[backbones]'``.
"""

from ._finetuned import FineTuned
from ._image import ImageEmbedder
from ._mobilenet import MobileNetV2
from ._text import TextEmbedder

__all__ = ["FineTuned", "ImageEmbedder", "MobileNetV2", "TextEmbedder"]
