from .balance import plot_loops as plot_loops, plot_pairs as plot_pairs
from .distances import plot_distances as plot_distances
from .landscape import plot_landscape as plot_landscape
from .runs import plot_runs as plot_runs
