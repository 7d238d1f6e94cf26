"""Run by 3D Slicer, not by us: it loads a case of an audit and saves the label that a person draws.

:mod:`viewers` writes a copy of this file for a case, with ``SCENE`` filled in, and ``Slicer --python-script`` runs it.
It imports nothing of ours.
"""

from __future__ import annotations

import json
from typing import Any

import qt
import slicer

SCENE = "{}"
KEYS = "Ctrl+Shift+S"


def colour_table(classes: list[dict[str, Any]]) -> Any:
    """Names and colours by label value: Slicer knows segments by their names, files know them by values."""
    table = slicer.mrmlScene.CreateNodeByClass("vtkMRMLColorTableNode")
    table.SetTypeToUser()
    table.HideFromEditorsOff()
    slicer.mrmlScene.AddNode(table)
    table.UnRegister(None)
    table.SetName("classes")
    table.SetNumberOfColors(1 + max(one["value"] for one in classes))
    table.SetNamesInitialised(True)
    table.SetColor(0, "background", 0.0, 0.0, 0.0, 0.0)
    for one in classes:
        table.SetColor(one["value"], one["name"], *one["colour"], 1.0)
    return table


def load_segmentation(
    name: str, path: str, classes: list[dict[str, Any]], table: Any, image: Any, visible: bool
) -> Any:
    """A label file as a segmentation with a segment for each class, also for those that the file lacks."""
    label = slicer.util.loadLabelVolume(path, {"name": name, "show": False})
    label.GetDisplayNode().SetAndObserveColorNodeID(table.GetID())
    found = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLSegmentationNode", name)
    found.CreateDefaultDisplayNodes()
    found.SetReferenceImageGeometryParameterFromVolumeNode(image)
    slicer.modules.segmentations.logic().ImportLabelmapToSegmentationNode(label, found)
    slicer.mrmlScene.RemoveNode(label)
    segments = found.GetSegmentation()
    for one in classes:
        if not segments.GetSegmentIdBySegmentName(one["name"]):
            segments.AddEmptySegment("", one["name"], one["colour"])
    found.GetDisplayNode().SetVisibility(visible)
    return found


def save(segmentation: Any, image: Any, table: Any, path: str) -> None:
    """Write the segmentation as a label file on the voxels of the image."""
    label = slicer.mrmlScene.AddNewNodeByClass("vtkMRMLLabelMapVolumeNode")
    ids = segmentation.GetSegmentation().GetSegmentIDs()
    extent = slicer.vtkSegmentation.EXTENT_REFERENCE_GEOMETRY
    done = slicer.modules.segmentations.logic().ExportSegmentsToLabelmapNode(
        segmentation, ids, label, image, extent, table
    ) and slicer.util.saveNode(label, path)
    slicer.mrmlScene.RemoveNode(label)
    if done:
        slicer.util.infoDisplay("Saved: " + path)
    else:
        slicer.util.errorDisplay("Not saved: " + path)


def show(scene: dict[str, Any]) -> None:
    """Load everything; only the label to be drawn is visible at first."""
    classes = scene["classes"]
    images = [slicer.util.loadVolume(one["path"], {"name": one["name"], "singleFile": True}) for one in scene["images"]]
    suspicion = slicer.util.loadVolume(
        scene["suspicion"],
        {"name": "suspicion", "singleFile": True, "show": False, "colorNodeID": "vtkMRMLColorTableNodeRed"},
    )
    table = colour_table(classes)
    for one in scene["labels"]:
        load_segmentation(one["name"], one["path"], classes, table, images[0], False)
    drawn = load_segmentation(scene["case"], scene["redrawn"], classes, table, images[0], True)
    slicer.util.setSliceViewerLayers(background=images[0], foreground=suspicion, foregroundOpacity=0.3, fit=True)
    shortcut = qt.QShortcut(slicer.util.mainWindow())
    shortcut.setKey(qt.QKeySequence(KEYS))
    shortcut.connect("activated()", lambda: save(drawn, images[0], table, scene["redrawn"]))
    slicer.util.selectModule("SegmentEditor")
    slicer.modules.segmenteditor.widgetRepresentation().self().editor.setSegmentationNode(drawn)
    slicer.util.showStatusMessage(KEYS + " saves " + scene["redrawn"])


show(json.loads(SCENE))
