"""Convolution and pooling: plain forms and fast ones."""
