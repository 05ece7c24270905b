"""Fig. 3 of the patent: the manager finds servers, assigns parts and has them moved."""
