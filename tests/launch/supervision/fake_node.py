"""launch.node with the training program of the tests in the place of launch.train."""

from pathlib import Path

from launch import node

node.run([str(Path(__file__).with_name("fake_training.py"))])
