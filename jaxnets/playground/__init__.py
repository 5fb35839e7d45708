"""The TensorFlow Playground, trained by this library: its networks, and a page in the browser that trains them.

`jaxnets playground` opens the page; `pip install 'jaxnets[playground]'` installs what it needs.
"""

from jaxnets.playground.code import program as program
from jaxnets.playground.network import make_network as make_network, shrink_l1 as shrink_l1
from jaxnets.playground.settings import PlaygroundSettings as PlaygroundSettings
