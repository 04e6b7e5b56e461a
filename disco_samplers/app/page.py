"""The page itself, made of Gradio's components."""

from __future__ import annotations

import os
import tempfile
from typing import Any

from disco_samplers.app.answers import Answers
from disco_samplers.extras import optional

MAX_FILE_SIZE = "50mb"
_WIDTHS: list[str | int] = ["13%", "9%", *["8.5%"] * 4, "10%", "13%", "13%", "8%"]
"""Of a summary's columns: its last, R-hat, must be seen without scrolling, and the names of all be read."""

_HEAD = """# DiScoFormer
Drop a table of draws: a posterior's chains, a sample, any table of numbers. One pretrained transformer reads it and answers
with its density and score. Nothing leaves this machine; uploaded files are deleted when the page is stopped."""


def build(folder: str) -> Any:
    """The page, which keeps what it writes in a folder.

    Raises:
        ImportError: if Gradio is not installed.
    """
    gr = optional("gradio", "app")

    answers = Answers(folder)
    with gr.Blocks(title="DiScoFormer", analytics_enabled=False, delete_cache=(600, 3600)) as page:
        gr.Markdown(_HEAD)
        draws = gr.State(None)
        with gr.Row():
            with gr.Column(scale=1):
                file = gr.File(label=f"table of draws (at most {MAX_FILE_SIZE.replace('mb', ' MB')})", elem_id="file")
                worth = gr.Textbox(label="what they are", interactive=False, elem_id="worth")
                columns = gr.Dropdown([], label="columns", multiselect=True, elem_id="columns")
            with gr.Column(scale=2), gr.Tabs():
                with gr.Tab("Draws"):
                    corner = gr.Plot(label="every two columns", show_label=False)
                    summary = gr.Dataframe(label="summary", interactive=False, column_widths=_WIDTHS)
                with gr.Tab("Density and score"):
                    with gr.Row():
                        across = gr.Dropdown([], label="across", elem_id="across")
                        up = gr.Dropdown([], label="up", elem_id="up")
                    picture = gr.Plot(label="density and score of these two columns", show_label=False)
                with gr.Tab("New draws"):
                    with gr.Row():
                        count = gr.Slider(400, 8000, 4000, step=400, label="number")
                        seed = gr.Number(0, label="seed", precision=0, minimum=0)
                    draw = gr.Button("draw", variant="primary", elem_id="draw")
                    result = gr.Dataframe(label="summary of the new draws", interactive=False, column_widths=_WIDTHS)
                    compared = gr.Plot(label="new draws on the input", show_label=False)
                    get_draws = gr.DownloadButton("download new draws", interactive=False)
                with gr.Tab("Unusual rows"):
                    find = gr.Button("find them", variant="primary", elem_id="find")
                    rows = gr.Dataframe(label="least likely rows first", interactive=False)
                    get_rows = gr.DownloadButton("download these rows", interactive=False)
                with gr.Tab("Code"):
                    source = gr.Code(language="python", interactive=False)
        file.change(answers.opened, file, [draws, worth, columns, across, up])
        gr.on([columns.change, draws.change], answers.seen, [draws, columns], [corner, summary])
        gr.on([across.change, up.change, draws.change], answers.plane, [draws, across, up], picture)
        draw.click(answers.sampled, [draws, columns, count, seed], [result, compared, get_draws])
        find.click(answers.found, [draws, columns], [rows, get_rows])
        choices = [columns, across, up, count, seed]
        gr.on([file.change, *(choice.change for choice in choices)], answers.shown, [file, *choices], source)
    return page


def serve(port: int | None = None, *, browser: bool = False) -> None:
    """Serves the page on the loopback interface until interrupted; its files lie in a temporary folder that is removed then.

    Arguments:
        port: to listen on; the first free one from 7860 on if not given.
        browser: opens the page in the default browser.

    Raises:
        ImportError: if Gradio is not installed.
        OSError: if the port is taken.
    """
    optional("gradio", "app")
    before = os.environ.get("GRADIO_TEMP_DIR")
    with tempfile.TemporaryDirectory(prefix="disco-app-") as folder:
        os.environ["GRADIO_TEMP_DIR"] = folder
        page = build(folder)
        try:
            page.queue(default_concurrency_limit=1).launch(
                server_name="127.0.0.1",
                server_port=port,
                inbrowser=browser,
                share=False,
                max_file_size=MAX_FILE_SIZE,
                prevent_thread_lock=True,
                footer_links=[],
                quiet=True,
            )
            print(f"the page is at {page.local_url} (Ctrl-C stops it)", flush=True)
            page.block_thread()
        finally:
            page.close(verbose=False)
            os.environ.pop("GRADIO_TEMP_DIR") if before is None else os.environ.update(GRADIO_TEMP_DIR=before)
