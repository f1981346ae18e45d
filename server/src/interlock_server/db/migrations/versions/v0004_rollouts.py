"""The engine: rollouts, their stages and counts, actions; and what devices are and run."""

from __future__ import annotations

import json
from base64 import b64decode
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

# A migration stands by itself: tables of later programs may look different.
counted = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
time = sa.DateTime(timezone=True)

STATES = (
    "scheduled",
    "waiting_for_consent",
    "downloading",
    "downloaded",
    "installing",
    "rebooting",
    "confirmed",
    "failed",
    "timed_out",
    "rolled_back",
    "rejected",
    "deferred",
    "already_installed",
    "canceled",
)
VOTES = ["confirmed", "already_installed", "failed", "rolled_back", "timed_out", "rejected"]
COUNTS = (
    *["started", "joined", "excluded", "recovered", "reverted"],
    *(f"is_{state}" for state in STATES),
    *(f"voted_{vote}" for vote in VOTES),
)


def upgrade() -> None:
    _enrolments()
    engine = op.create_table(
        "engine",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("holder", sa.String(32), nullable=False),
        sa.Column("until", time, nullable=True),
        sa.Column("seen_at", time, nullable=True),
        sa.PrimaryKeyConstraint("id", name="pk_engine"),
    )
    op.bulk_insert(engine, [{"id": 1, "holder": "", "until": None, "seen_at": None}])
    op.create_table(
        "rollout",
        sa.Column("number", counted, nullable=False),
        sa.Column("order_id", sa.String(64), nullable=False),
        sa.Column("product", sa.String(63), nullable=False),
        sa.Column("seq", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(24), nullable=False),
        sa.Column("changed_at", time, nullable=False),
        sa.Column("held_since", time, nullable=True),
        sa.Column("held_why", sa.Text(), nullable=True),
        sa.Column("away_until", time, nullable=True),
        sa.PrimaryKeyConstraint("number", name="pk_rollout"),
        sa.UniqueConstraint("order_id", name="uq_rollout_order_id"),
    )
    op.create_index("ix_rollout_state", "rollout", ["state"])
    op.create_table(
        "rollout_part",
        sa.Column("rollout", counted, autoincrement=False, nullable=False),
        sa.Column("cohort", sa.String(63), nullable=False),
        sa.Column("opened", sa.Integer(), nullable=False),
        sa.Column("held", sa.Boolean(), nullable=False),
        sa.Column("still", sa.String(63), nullable=True),
        sa.Column("still_since", time, nullable=True),
        sa.Column("over", sa.String(63), nullable=True),
        sa.Column("resumed_at", time, nullable=True),
        sa.PrimaryKeyConstraint("rollout", "cohort", name="pk_rollout_part"),
        sa.ForeignKeyConstraint(
            ["rollout"], ["rollout.number"], name="fk_rollout_part_rollout_rollout"
        ),
    )
    op.create_table(
        "rollout_stage",
        sa.Column("rollout", counted, autoincrement=False, nullable=False),
        sa.Column("stage", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("cohort", sa.String(63), nullable=False),
        sa.Column("opened_at", time, nullable=False),
        sa.Column("forgiven", sa.Text(), nullable=True),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in COUNTS),
        sa.PrimaryKeyConstraint("rollout", "stage", "cohort", name="pk_rollout_stage"),
        sa.ForeignKeyConstraint(
            ["rollout"], ["rollout.number"], name="fk_rollout_stage_rollout_rollout"
        ),
    )
    _actions()


def _actions() -> None:
    op.create_table(
        "action",
        sa.Column("number", counted, nullable=False),
        sa.Column("rollout", counted, nullable=False),
        sa.Column("enrolment", counted, nullable=False),
        sa.Column("device", sa.String(127), nullable=False),
        sa.Column("site", sa.String(63), nullable=False),
        sa.Column("cohort", sa.String(63), nullable=False),
        sa.Column("stage", sa.Integer(), nullable=False),
        sa.Column("since", time, nullable=False),
        sa.Column("deadline", sa.BigInteger(), nullable=False),
        sa.Column("state", sa.String(24), nullable=False),
        sa.Column("reason", sa.String(63), nullable=False),
        sa.Column("vote", sa.String(24), nullable=True),
        sa.Column("vote_reason", sa.String(63), nullable=True),
        sa.Column("excluded", sa.String(63), nullable=True),
        sa.Column("counted", sa.Boolean(), nullable=False),
        sa.Column("over", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_action"),
        sa.ForeignKeyConstraint(["rollout"], ["rollout.number"], name="fk_action_rollout_rollout"),
        sa.ForeignKeyConstraint(
            ["enrolment"], ["enrolment.number"], name="fk_action_enrolment_enrolment"
        ),
        sa.UniqueConstraint("rollout", "device", name="uq_action_rollout_device"),
    )
    op.create_index("ix_action_rollout_over_deadline", "action", ["rollout", "over", "deadline"])
    op.create_index("ix_action_rollout_state_number", "action", ["rollout", "state", "number"])
    op.create_index("ix_action_rollout_vote", "action", ["rollout", "vote"])
    op.create_index("ix_action_device_over", "action", ["device", "over"])


def _enrolments() -> None:
    """What stands in the envelopes of old, in columns that can be searched."""
    for name, length in (("product", 63), ("hardware", 63)):
        op.add_column(
            "enrolment", sa.Column(name, sa.String(length), server_default="", nullable=False)
        )
    op.add_column("enrolment", sa.Column("running", sa.String(64), nullable=True))
    bind = op.get_bind()
    enrolment = sa.table(
        "enrolment",
        sa.column("number", counted),
        sa.column("product", sa.String()),
        sa.column("hardware", sa.String()),
        sa.column("running", sa.String()),
        sa.column("tip_number", sa.BigInteger()),
        sa.column("envelope", sa.LargeBinary()),
    )
    report = sa.table(
        "report",
        sa.column("enrolment", counted),
        sa.column("number", sa.BigInteger()),
        sa.column("envelope", sa.LargeBinary()),
    )
    newest = sa.select(enrolment.c.number, enrolment.c.envelope, report.c.envelope).select_from(
        enrolment.outerjoin(
            report,
            sa.and_(
                report.c.enrolment == enrolment.c.number,
                report.c.number == enrolment.c.tip_number,
            ),
        )
    )
    for number, envelope, reported in bind.execute(newest).all():
        said = _predicate(envelope)
        running = _predicate(reported)["running"] if reported is not None else None
        bind.execute(
            enrolment.update()
            .where(enrolment.c.number == number)
            .values(
                product=said["product"],
                hardware=said["hardware"],
                running=running["sha256"] if running else None,
            )
        )


def _predicate(envelope: bytes) -> dict[str, Any]:
    predicate: dict[str, Any] = json.loads(b64decode(json.loads(envelope)["payload"]))["predicate"]
    return predicate
