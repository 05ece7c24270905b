"""The demo CA and its certificates; a real farm brings its own."""
