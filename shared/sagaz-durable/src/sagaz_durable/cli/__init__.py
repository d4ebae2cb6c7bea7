"""The commands of all three plugins, above click and argparse."""
