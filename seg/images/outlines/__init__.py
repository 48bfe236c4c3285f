"""Outlines of a mask: polygons, GeoJSON, COCO."""
