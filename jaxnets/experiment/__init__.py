"""An experiment of one's own: its settings as options of a command, its run folder, its result.

The experiments of the repository are made with this, and so is `jaxnets train`, in `jaxnets/experiment/digits_cnn.py`.
The options need tyro, the progress bar rich, and the pictures matplotlib: `pip install 'jaxnets[experiments]'`.
"""

from jaxnets.experiment.classifier import train_classifier as train_classifier
from jaxnets.experiment.runner import (
    Findings as Findings,
    Result as Result,
    Work as Work,
    in_run_folder as in_run_folder,
    main as main,
    read_options as read_options,
    run_experiment as run_experiment,
    show_summary as show_summary,
)
from jaxnets.experiment.settings import (
    Settings as Settings,
    TrainingSettings as TrainingSettings,
    check_settings as check_settings,
    with_presets as with_presets,
)
