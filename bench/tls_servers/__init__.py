"""The servers that are compared, each as a process of its own, with one certificate and answer."""
