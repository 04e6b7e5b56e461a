"""Public conformance kit and statistical assertions."""
