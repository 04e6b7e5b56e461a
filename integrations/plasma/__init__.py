"""Kinetic equations solved with particles whose collisions use the score that is read off the particles themselves."""
