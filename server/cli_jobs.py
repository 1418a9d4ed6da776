"""`quittance jobs`: what is to happen later, and what was given up."""

from typing import Annotated

import typer

from quittance.server.cli_offline import DatabaseUrl, fail, offline

jobs_app = typer.Typer(
    help="Jobs: deliveries and all else that happens later. Those that are DEAD wait for `jobs retry`.",
    no_args_is_help=True,
)


@jobs_app.command("list")
def jobs_list(
    state: Annotated[str, typer.Option(help="WAITING, RUNNING or DEAD.")] = "DEAD",
    limit: Annotated[int, typer.Option(help="How many at most.", min=1, max=1_000)] = 100,
    database_url: DatabaseUrl = None,
) -> None:
    """List jobs in one state, the longest due first: id, kind, subject, tries, when it is due, the last error."""
    from quittance.domain.job import STORED
    from quittance.resolvers import jobs

    wanted = next((one for one in STORED if one == state.upper()), None)
    if wanted is None:
        fail(f"a state is one of {', '.join(sorted(STORED))}; a job that is done is gone")
    found = offline(database_url, lambda services: jobs.list_jobs(services, wanted, limit=limit))
    for job in found:
        due = f"due {job.due_at:%Y-%m-%d %H:%M:%S}"
        line = f"{job.id}  {job.kind}  {job.subject}  {job.attempts} tries  {due}  {job.last_error or ''}"
        typer.echo(line.rstrip())
    typer.echo(f"{len(found)} {wanted}", err=True)


@jobs_app.command("retry")
def jobs_retry(
    job_id: Annotated[str, typer.Argument(help="The job's id, as `jobs list` shows it.")],
    database_url: DatabaseUrl = None,
) -> None:
    """Let a job run now, with all its tries. A delivery that was given up is refused: use `redeliverWebhook`."""
    from quittance.domain.ids import JobId
    from quittance.resolvers import jobs

    if not offline(database_url, lambda services: jobs.retry_job(services, JobId(job_id))):
        fail(f"there is no job {job_id} that could run now; see `quittance jobs list`")
    typer.echo(f"{job_id} runs as soon as a worker is free")
