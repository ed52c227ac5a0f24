"""Checks Kafka and its topics, NATS and its retained whitelist."""

from aiokafka.errors import KafkaError

from commands.doctor.findings import Findings
from settings import Settings
from streams.kafka.clients import InsecureKafka
from streams.kafka.connection import KafkaRefused, KafkaUnanswered
from streams.kafka.topic_setup import TopicReport, inspect_topics
from streams.nats.connection import NatsUnavailable, connect_nats
from streams.nats.servers import InsecureNats
from streams.nats.subscriber import Received, retained_messages
from streams.nats.whitelist_decoder import Rejected
from streams.nats.whitelist_state import FullList, apply_full


async def check_kafka(settings: Settings, findings: Findings) -> None:
    try:
        report = await inspect_topics(settings)
    except (KafkaRefused, InsecureKafka, KafkaUnanswered) as error:
        findings.problem(
            f"no connection to Kafka at {settings.kafka}: {error}", "start it, or set ARENA_KAFKA and what goes with it"
        )
        return
    except KafkaError as error:
        findings.problem(f"Kafka at {settings.kafka} does not describe its topics: {error}", "give the user that right")
        return
    findings.ok(f"Kafka at {settings.kafka} answers, number of brokers: {report.brokers}")
    _check_replication(settings, report, findings)
    _check_topics(settings, report, findings)


def _check_replication(settings: Settings, report: TopicReport, findings: Findings) -> None:
    if settings.kafka_replication > report.brokers:
        findings.problem(
            f"ARENA_KAFKA_REPLICATION={settings.kafka_replication} and {report.brokers} brokers: no topic is created",
            "start more brokers, or set a smaller one",
        )
    elif settings.kafka_replication == 1 and report.brokers > 1:
        findings.warning(
            f"{report.brokers} brokers, and topics with one replica",
            "set ARENA_KAFKA_REPLICATION=3 before the first start",
        )


def _check_topics(settings: Settings, report: TopicReport, findings: Findings) -> None:
    for fault in report.faults:
        fact, _, advice = fault.sentence.partition("; ")
        (findings.problem if fault.is_fatal else findings.warning)(fact, advice or None)
    if report.absent:
        names = f"{len(report.absent)} topics of {settings.chain} do not exist yet"
        findings.ok(f"{names}; the first process creates them with {settings.partitions} partitions")
    elif not report.faults:
        findings.ok(f"all {len(report.existing)} topics of {settings.chain} are as the settings say")


async def check_nats(settings: Settings, findings: Findings) -> None:
    try:
        async with connect_nats(settings) as client:
            findings.ok(
                f"NATS {client.connected_server_version} at {client.connected_url and client.connected_url.netloc}"
            )
            retained = await retained_messages(client, settings.chain)
    except (NatsUnavailable, InsecureNats) as error:
        findings.problem(f"no connection to NATS: {error}", "start it, or set ARENA_NATS and what goes with it")
        return
    _check_whitelist(settings, retained, findings)


def _check_whitelist(settings: Settings, retained: list[Received], findings: Findings) -> None:
    publisher = "publish one: `arena whitelist publish`, or any publisher of whitelist.pools.CHAIN.full"
    if not retained:
        findings.warning(
            f"JetStream holds no whitelist of {settings.chain}: pools are known only once it is published again",
            f"run nats-server with -js, and {publisher}",
        )
        return
    held = FullList()
    for message in retained:
        try:
            held = apply_full(held, message.subject, message.payload, settings.chain)
        except Rejected as error:
            findings.problem(f"the retained whitelist on {message.subject} cannot be read: {error}", publisher)
    if held.skipped:
        findings.warning(f"{len(held.skipped)} pools of the retained whitelist cannot be read, as {held.skipped[0]}")
    if not held.pools:
        findings.warning(f"the retained whitelist of {settings.chain} has no pools", publisher)
    else:
        findings.ok(f"JetStream holds a whitelist of {len(held.pools)} pools of {settings.chain}")
