"""The notebook that plays the storm runs from top to bottom."""

import nbformat
from helpers import EXAMPLES
from nbclient import NotebookClient


def test_fault_tolerance_notebook(home):
    notebook = nbformat.read(EXAMPLES / "fault_tolerance.ipynb", as_version=4)
    nbformat.validate(notebook)
    NotebookClient(notebook, timeout=120, kernel_name="python3").execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    text = "".join(output.get("text", "") for output in outputs if output.output_type == "stream")
    assert "MASTERS" in text and "WORKERS" in text
    assert "the result is right" in text
    assert "ran again: 0" in text
