"""The paper's symbolic task, whose states are formulas: their language, fits and mutations."""
