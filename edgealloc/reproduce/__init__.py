"""Figures and tables of the papers, computed anew."""
