"""Each defence of docs/security.md taken out of a copy of the code: does its test fail?

A test that passes without what it is named for shows nothing. Usage: python benchmarks/defences.py
[--only WORD ...] [--json FILE]; a defence takes as long as its test.
"""

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.result import bar, show, write  # noqa: E402

COPIED = ("seg", "service", "training", "data", "tests", "benchmarks", "deploy", "docs")
TESTS_FAILED = 1
"""pytest's status where tests failed; others mean that it could not run them."""


@dataclass(frozen=True)
class Defence:
    """What is taken out, and which test must notice."""

    against: str
    file: str
    code: str
    without: str
    test: str


ACCESS, LIMITER = "service/middleware/access.py", "service/hosting/bounded_http.py"
HEAD = "service/hosting/head.py"
TOKENS = "service/middleware/identity_tokens.py"
TESTS = "tests/service"
UNPROVEN = (
    "import base64, json, types; part = token.split('.')[1] + '=='; "
    "claims = json.loads(base64.urlsafe_b64decode(part)); "
    "decoded = types.SimpleNamespace(header={}, claims=claims)"
)
"""What a token says, whoever signed it."""
DEFENCES = (
    Defence(
        "asking without a key",
        ACCESS,
        'if self._settings.keys == "off":',
        "if True:",
        f"{TESTS}/middleware/test_access.py::test_without_a_key_only_probes_answer",
    ),
    Defence(
        "more than a key's scopes",
        ACCESS,
        "if not caller.allows(needed):",
        "if False:",
        f"{TESTS}/middleware/test_access.py::test_a_key_opens_what_its_scopes_say",
    ),
    Defence(
        "a key out of time",
        ACCESS,
        "if key.has_expired:",
        "if False:",
        f"{TESTS}/middleware/test_access.py::test_a_key_ends_by_itself",
    ),
    Defence(
        "keys that others may read",
        "service/middleware/key_file.py",
        "path.stat().st_mode & OTHERS_MAY",
        "False",
        f"{TESTS}/middleware/test_access.py::test_a_file_of_keys_that_others_may_read_is_refused",
    ),
    Defence(
        "what a proxy passed on",
        ACCESS,
        "and not came_through_a_proxy(scope)",
        "",
        f"{TESTS}/hosting/test_proxies.py::test_what_was_passed_on_needs_a_key",
    ),
    Defence(
        "a name pointed at this machine",
        ACCESS,
        'and (asked in ("", "localhost") or is_loopback(asked))',
        "",
        f"{TESTS}/middleware/test_access.py::test_over_loopback_a_name_that_was_pointed_at_this_machine_opens_nothing",
    ),
    Defence(
        "another origin",
        "service/app.py",
        'allow_origins=[origin.strip() for origin in origins.split(",")],',
        'allow_origins=["*"],',
        f"{TESTS}/middleware/test_access.py::test_only_origins_that_are_listed_may_call",
    ),
    Defence(
        "a forged token",
        TOKENS,
        'raise InvalidTokenError("no key of the identity provider signed it") from error',
        UNPROVEN,
        f"{TESTS}/middleware/test_identity_tokens.py"
        "::test_tokens_that_the_provider_did_not_sign_are_refused",
    ),
    Defence(
        "a token for another service",
        TOKENS,
        'aud={"essential": True, "value": self._audience},',
        "",
        f"{TESTS}/middleware/test_identity_tokens.py::test_a_token_for_another_service_is_refused",
    ),
    Defence(
        "a token out of time",
        TOKENS,
        "self._claims.validate(decoded.claims)",
        "pass",
        f"{TESTS}/middleware/test_identity_tokens.py::test_a_token_ends_when_its_time_is_over",
    ),
    Defence(
        "asking and denying it",
        "service/middleware/accounting.py",
        'self._audit.write("request",',
        '(lambda *_: None)("request",',
        f"{TESTS}/middleware/test_identity_tokens.py"
        "::test_the_audit_log_tells_who_asked_what_and_the_log_names_nobody",
    ),
    Defence(
        "reading in the process that serves",
        "service/frontends/monailabel/results.py",
        "encode_image, encode_mask",
        "encode_image, encode_mask, read_image",
        f"{TESTS}/decoding/test_nowhere_else.py::test_files_of_clients_are_read_in_decoders_alone",
    ),
    Defence(
        "unpacking what is no image",
        "seg/images/reading.py",
        "head = entry.head(HEAD_BYTES)",
        "with entry.open() as opened: head = opened.read(HEAD_BYTES)",
        "tests/seg/images/storage/test_archives.py"
        "::test_what_is_no_image_is_unpacked_no_further_than_its_beginning",
    ),
    Defence(
        "instances that are sent again",
        "service/frontends/dimse/spool.py",
        "self._reserve(name, -before)",
        "pass",
        f"{TESTS}/frontends/dimse/test_spool.py"
        "::test_an_instance_that_is_sent_again_takes_its_room_once",
    ),
    Defence(
        "new connections in front of probes",
        "service/hosting/entrance/door.py",
        "probe=is_probe(head)",
        "probe=False",
        f"{TESTS}/hosting/test_entrance.py::test_a_probe_goes_before_those_that_came_earlier",
    ),
    Defence(
        "kept connections in front of probes",
        LIMITER,
        "if not self._has_turn():",
        "if False:",
        f"{TESTS}/hosting/test_entrance.py::test_requests_on_connections_that_are_kept_take_turns",
    ),
    Defence(
        "rounds without end",
        "service/hosting/entrance/turns.py",
        "if now - self._begun > ROUND_S:",
        "if False:",
        f"{TESTS}/hosting/test_entrance.py"
        "::test_a_round_of_the_loop_begins_less_where_requests_cost_more",
    ),
    Defence(
        "requests that wait without end",
        "service/hosting/entrance/turns.py",
        "if len(lane) > MOST_WAITING:",
        "if False:",
        f"{TESTS}/hosting/test_entrance.py::test_of_too_many_that_wait_the_oldest_is_sent_away",
    ),
    Defence(
        "memory of a decoder",
        "service/decoding/image_decoder.py",
        '"memory": self.budget.total,',
        '"memory": 1 << 40,',
        f"{TESTS}/decoding/test_image_decoder.py::test_it_is_ended_by_its_own_limit_too_where_nobody_looks",
    ),
    Defence(
        "lengths that lie",
        "service/frontends/oip/bodies.py",
        "if length is None or length > size:",
        "if length is None:",
        f"{TESTS}/frontends/oip/test_oip.py"
        "::test_a_body_that_is_not_what_its_headers_say_is_refused",
    ),
    Defence(
        "what killed processes hold",
        "service/sharing/memory.py",
        "if not is_alive(int(self._owners[column])):",
        "if False:",
        f"{TESTS}/sharing/test_limits.py::test_what_a_killed_process_held_is_free",
    ),
    Defence(
        "jobs that fill the disk",
        "service/jobs/store.py",
        "if of_others + total > of_all:",
        "if False:",
        f"{TESTS}/jobs/test_room.py::test_a_key_has_so_much_and_all_have_so_much",
    ),
    Defence(
        "a key's jobs that fill the disk",
        "service/jobs/store.py",
        "if owner and of_owner + total > of_key:",
        "if False:",
        f"{TESTS}/jobs/test_room.py::test_a_key_has_so_much_and_all_have_so_much",
    ),
    Defence(
        "uploads that announce too much for the disk",
        "service/jobs/routes.py",
        "if announced:",
        "if False:",
        f"{TESTS}/jobs/test_room.py::test_what_is_announced_is_refused_before_it_comes",
    ),
    Defence(
        "a file that breaks its decoder",
        "service/decoding/image_decoder.py",
        "raise _ended_by(decoder.end(), self.seconds) from None",
        "raise",
        f"{TESTS}/decoding/test_image_decoder.py"
        "::test_a_file_that_breaks_its_decoder_breaks_nothing_else",
    ),
    Defence(
        "a model that is put and not proven",
        "service/routes/model_changes.py",
        'if version.state != "proven":\n            if share',
        "if False:\n            if share",
        f"{TESTS}/models/test_model_changes.py"
        "::test_a_model_that_disagrees_with_its_golden_samples_leaves_nothing_behind",
    ),
    Defence(
        "another one's jobs",
        "service/jobs/routes.py",
        "if job is None or job.owner != owner_of(request):",
        "if job is None:",
        f"{TESTS}/middleware/test_access.py::test_a_job_is_seen_by_the_key_that_sent_it_and_by_no_other",
    ),
    Defence(
        "too many requests",
        "service/sharing/clients.py",
        "if memory.stays(lambda: bool(active.sum() >= most)):",
        "if False:",
        f"{TESTS}/middleware/test_access.py::test_a_client_has_so_many_requests_in_flight_and_no_more",
    ),
    Defence(
        "an upload that stands still",
        "service/middleware/upload_guard.py",
        "async with asyncio.timeout(self._gate.idle_s):",
        "async with asyncio.timeout(None):",
        f"{TESTS}/middleware/test_access.py::test_an_upload_that_stands_still_is_cut_off",
    ),
    Defence(
        "a false PostgreSQL",
        "service/jobs/database.py",
        "    return context\n",
        "    return True\n",
        f"{TESTS}/jobs/test_database.py::test_who_is_not_the_database_gets_no_connection",
    ),
    Defence(
        "large bodies",
        "service/middleware/accounting.py",
        "if self._bytes_in > self._limit.max_bytes:",
        "if False:",
        f"{TESTS}/routes/test_errors.py::test_a_body_over_the_limit_is_413_by_its_length_and_by_counting",
    ),
    Defence(
        "pixel bombs",
        "seg/images/grid/limits.py",
        "if got > allowed:",
        "if False:",
        f"{TESTS}/routes/test_errors.py::test_more_pixels_than_allowed_are_413_however_few_bytes_they_take",
    ),
    Defence(
        "decoding for nobody",
        "service/decoding/image_decoder.py",
        "            check()\n            lease.take",
        "            lease.take",
        f"{TESTS}/decoding/test_image_decoder.py::test_a_decoding_that_nobody_waits_for_is_ended",
    ),
    Defence(
        "decoding without end",
        "service/decoding/image_decoder.py",
        "self.seconds = settings.max_decoding_s",
        "self.seconds = 1e6",
        f"{TESTS}/decoding/test_image_decoder.py::test_one_that_takes_too_much_cpu_is_ended",
    ),
    Defence(
        "two large images at once",
        "service/decoding/budget.py",
        "if used > FREE_BYTES and memory.stays(lambda: self._before(lease) + used > self.total):",
        "if False:",
        f"{TESTS}/decoding/test_image_decoder.py::test_the_newest_gives_way_and_small_ones_pass",
    ),
    Defence(
        "one large image",
        "service/decoding/budget.py",
        "if used > self.total:",
        "if False:",
        f"{TESTS}/decoding/test_image_decoder.py::test_the_newest_gives_way_and_small_ones_pass",
    ),
    Defence(
        "names from a decoder",
        "service/decoding/crossing.py",
        'if not module.startswith(ROOM) or "." in name:',
        "if False:",
        f"{TESTS}/decoding/test_image_decoder.py::test_a_decoder_can_name_no_code",
    ),
    Defence(
        "elements without end",
        "seg/images/dicom/bounds.py",
        "if self._left < 0:",
        "if False:",
        "tests/seg/images/dicom/test_bounds.py::test_elements_without_end_are_not_followed",
    ),
    Defence(
        "more pixels than the image has",
        "seg/images/dicom/bounds.py",
        "if self._pixels and self._held(length) > self._most:",
        "if False:",
        "tests/seg/images/dicom/test_bounds.py::test_far_more_pixels_than_the_image_has_are_not_read",
    ),
    Defence(
        "archives whole in memory",
        "seg/images/storage/files.py",
        "if size > UNPACKED_IN_MEMORY:",
        "if False:",
        "tests/seg/images/dicom/test_bounds.py::test_what_unpacks_to_much_is_never_whole_in_memory",
    ),
    Defence(
        "JSON that grows",
        "service/decoding/tasks.py",
        "if text.count(sign) > allowed:",
        "if False:",
        f"{TESTS}/routes/test_segment.py::test_json_that_would_grow_is_refused_by_what_it_would_become",
    ),
    Defence(
        "heads without end",
        LIMITER,
        "is_too_large = self._head_bytes > MAX_HEAD_BYTES",
        "is_too_large = False",
        f"{TESTS}/hosting/test_bounded_http.py::test_headers_without_an_end_are_not_kept",
    ),
    Defence(
        "slow heads",
        LIMITER,
        "self._timer = loop.call_later(HEAD_S, self._give_up)",
        "pass",
        f"{TESTS}/hosting/test_bounded_http.py::test_who_does_not_come_to_the_point_is_cut",
    ),
    Defence(
        "trailers and extensions without end",
        LIMITER,
        "is_too_large = self._framing.is_too_large",
        "is_too_large = False",
        f"{TESTS}/hosting/test_bounded_http.py::test_what_surrounds_a_body_has_no_more_room_than_headers",
    ),
    Defence(
        "slow trailers and extensions",
        LIMITER,
        "if self._framing.is_within_a_line:",
        "if False:",
        f"{TESTS}/hosting/test_bounded_http.py::test_what_surrounds_a_body_has_no_more_time_than_headers",
    ),
    Defence(
        "bodies that nobody reads",
        LIMITER,
        "if self._unwanted_bytes > MAX_UNWANTED_BYTES:",
        "if False:",
        f"{TESTS}/hosting/test_bounded_http.py::test_a_body_that_nobody_reads_is_not_taken_without_end",
    ),
    Defence(
        "requests that wait for no answer",
        LIMITER,
        "while self._unparsed and (not self.pipeline or self.transport.is_closing()):",
        "while self._unparsed:",
        f"{TESTS}/hosting/test_bounded_http.py"
        "::test_requests_that_do_not_wait_for_answers_take_no_more_room_than_others",
    ),
    Defence(
        "endless trailers that are thrown away",
        LIMITER,
        "self._lingering.take_no_more_than(MAX_UNWANTED_BYTES)",
        "pass",
        f"{TESTS}/hosting/test_bounded_http.py"
        "::test_little_is_taken_of_who_sends_trailers_without_end",
    ),
    Defence(
        "numbers of thousands of digits",
        "service/frontends/oip/tensors.py",
        "shape: Annotated[list[Annotated[int, Field(ge=0, le=MOST_SIZE)]], "
        "Field(max_length=MOST_AXES)]",
        "shape: list[int]",
        f"{TESTS}/frontends/oip/test_oip.py::test_a_shape_has_few_sizes_of_few_digits",
    ),
    Defence(
        "files of waiting requests in memory",
        "service/frontends/oip/bodies.py",
        "tempfile.SpooledTemporaryFile(IN_MEMORY)  # noqa",
        "tempfile.SpooledTemporaryFile(1 << 30)  # noqa",
        f"{TESTS}/frontends/oip/test_oip.py::test_elements_lie_in_files_while_their_request_waits",
    ),
    Defence(
        "sessions without end",
        "service/frontends/monailabel/sessions.py",
        "len(own) >= MOST_OF_AN_OWNER",
        "False",
        f"{TESTS}/frontends/monailabel/test_inference.py"
        "::test_an_owner_has_so_many_sessions_and_the_oldest_make_room",
    ),
    Defence(
        "addresses without end",
        HEAD,
        "if self.target_bytes > MAX_TARGET_BYTES:",
        "if False:",
        f"{TESTS}/hosting/test_bounded_http.py"
        "::test_an_address_has_room_for_options_and_not_for_more",
    ),
    Defence(
        "thousands of headers",
        HEAD,
        "if self.headers > MOST_HEADERS:",
        "if False:",
        f"{TESTS}/hosting/test_bounded_http.py::test_a_request_has_so_many_headers_and_no_more",
    ),
    Defence(
        "an Accept header without end",
        "service/requests/formats.py",
        "if len(accept) > MOST_LETTERS:",
        "if False:",
        f"{TESTS}/routes/test_errors.py::test_an_accept_header_without_end_is_not_read",
    ),
    Defence(
        "chunks of a byte",
        "service/hosting/framing.py",
        "return self.chunks // 2 > FREE_CHUNKS + self._content // USUAL_CHUNK",
        "return False",
        f"{TESTS}/hosting/test_bounded_http.py::test_a_body_in_small_chunks_without_end_is_refused",
    ),
    Defence(
        "thousands of parts",
        "service/requests/forms.py",
        "await asyncio.sleep(0)",
        "pass",
        f"{TESTS}/requests/test_forms.py"
        "::test_others_have_their_turn_while_many_small_parts_are_read",
    ),
    Defence(
        "parts in memory",
        "service/requests/forms.py",
        "max(1, IN_MEMORY - self._kept)",
        "IN_MEMORY",
        f"{TESTS}/requests/test_forms.py::test_files_of_a_form_share_the_memory_that_one_may_have",
    ),
    Defence(
        "thousands of connections",
        "service/hosting/crowds.py",
        "if len(self._inside) > self.most:",
        "if False:",
        f"{TESTS}/hosting/test_crowds.py::test_who_waits_longest_makes_room",
    ),
    Defence(
        "answers that nobody reads",
        "service/hosting/crowds.py",
        "self.loop.call_later(SEND_S, self.transport.abort)",
        "None",
        f"{TESTS}/hosting/test_crowds.py::test_an_answer_that_nobody_reads_has_an_end",
    ),
    Defence(
        "series without end",
        "service/frontends/dicomweb/stow.py",
        "if len(self.series) == MOST_SERIES:",
        "if False:",
        f"{TESTS}/frontends/dicomweb/test_too_much.py"
        "::test_a_request_has_so_many_series_and_gives_their_files_back",
    ),
    Defence(
        "parts without end",
        "service/requests/uploads.py",
        "if self._count > MAX_FILES:",
        "if False:",
        f"{TESTS}/frontends/dicomweb/test_too_much.py::test_a_body_has_so_many_parts",
    ),
    Defence(
        "answers in memory",
        "service/hosting/crowds.py",
        "connection.setsockopt(socket.IPPROTO_TCP, UNSENT, UNSENT_BYTES)",
        "pass",
        f"{TESTS}/hosting/test_crowds.py::test_little_is_taken_of_an_answer_before_it_is_read",
    ),
    Defence(
        "work for nobody, in chunks",
        LIMITER,
        "if is_last and self._client_has_left(1):",
        "if False:",
        f"{TESTS}/hosting/test_bounded_http.py::test_nobody_works_for_who_left_before_all_had_come",
    ),
    Defence(
        "work for nobody",
        LIMITER,
        "if self._client_has_left((self._body_left or 0) - self._parsed_bytes):",
        "if False:",
        f"{TESTS}/hosting/test_bounded_http.py::test_nobody_works_for_who_left_before_all_had_come",
    ),
    Defence(
        "a limit for each worker",
        "service/middleware/access.py",
        "SharedMemory.of_this_service()",
        "SharedMemory(None)",
        f"{TESTS}/observability/test_workers.py"
        "::test_a_client_may_ask_so_often_whichever_process_it_reaches",
    ),
    Defence(
        "half a form",
        "service/requests/forms.py",
        "if not parser.is_whole:",
        "if False:",
        f"{TESTS}/routes/test_errors.py::test_a_form_that_is_cut_off_is_refused_wherever_it_was_cut",
    ),
    Defence(
        "a locked database",
        "service/jobs/database.py",
        "ANSWER_S = 0.7",
        "ANSWER_S = 30",
        f"{TESTS}/jobs/test_database.py::test_a_database_that_another_program_holds_is_away_for_a_second_and_no_longer",
    ),
    Defence(
        "readers behind a writer",
        "service/jobs/database.py",
        '"begin" if reads else "begin immediate"',
        '"begin immediate"',
        f"{TESTS}/jobs/test_database.py::test_questions_wait_for_nobody_who_is_about_to_write",
    ),
    Defence(
        "an end that does not come",
        "service/hosting/ending.py",
        "signal.setitimer(signal.ITIMER_REAL, END_S)",
        "pass",
        f"{TESTS}/hosting/test_ending.py",
    ),
    Defence(
        "code in files",
        "training/learning/checkpoint.py",
        "weights_only=True",
        "weights_only=False",
        f"{TESTS}/middleware/test_pickles.py::test_no_code_of_ours_reads_pickles",
    ),
    Defence(
        "an altered package",
        "seg/model_package/folder.py",
        "            _check_file(path, name, sha256)",
        "            pass",
        "tests/seg/test_model_package.py::test_a_changed_byte_is_found",
    ),
    Defence(
        "a package that gives other masks here",
        "service/models/ready_model.py",
        "golden_error = verify_golden(package, backend, settings.variant)",
        "golden_error = 0.0",
        f"{TESTS}/models/test_readiness.py::test_a_model_whose_golden_samples_disagree_never_gets_ready",
    ),
    Defence(
        "an untried model",
        "service/models/ready_model.py",
        "golden_error = verify_golden(package, backend, settings.variant)",
        "golden_error = 0.0",
        f"{TESTS}/models/test_models.py::test_a_broken_version_never_goes_live_and_says_why",
    ),
    Defence(
        "fetching for others",
        "service/requests/addresses.py",
        "if origin not in self.networks:",
        "if False:",
        f"{TESTS}/requests/test_addresses.py::test_only_listed_hosts_are_asked",
    ),
    Defence(
        "scripts in our page",
        "service/page/routes.py",
        '"Content-Security-Policy": policy(document.styles, document.scripts),',
        "",
        f"{TESTS}/page/test_files.py::test_the_page_runs_its_own_scripts_and_asks_nobody_else",
    ),
    Defence(
        "patients in logs",
        "service/observability/logs.py",
        '"error": type(error).__name__,',
        '"error": repr(error),',
        f"{TESTS}/observability/test_logs.py"
        "::test_an_error_is_told_by_its_type_and_place_and_never_by_its_words",
    ),
    Defence(
        "jobs that others on the machine read",
        "service/jobs/database.py",
        "Path(url.database).chmod(0o600)",
        "Path(url.database).chmod(0o644)",
        f"{TESTS}/jobs/test_jobs.py::test_the_database_is_its_owner_s_alone",
    ),
    Defence(
        "handshakes that nobody ends",
        "service/hosting/entrance/door.py",
        "ssl_handshake_timeout=HANDSHAKE_S",
        "ssl_handshake_timeout=60",
        f"{TESTS}/hosting/test_entrance.py"
        "::test_handshakes_that_nobody_ends_keep_no_other_waiting_and_end",
    ),
    Defence(
        "handshakes without end",
        "service/hosting/entrance/door.py",
        "if len(self._handshakes) > MOST_HANDSHAKES:",
        "if False:",
        f"{TESTS}/hosting/test_entrance.py::test_of_too_many_handshakes_the_oldest_makes_room",
    ),
    Defence(
        "messages of gRPC that grow",
        "service/frontends/oip/grpc_bounds.py",
        "if fields > MOST_FIELDS:",
        "if False:",
        f"{TESTS}/frontends/oip/test_grpc.py"
        "::test_a_message_that_would_grow_is_refused_before_it_is_parsed",
    ),
    Defence(
        "long texts in messages of gRPC",
        "service/frontends/oip/grpc_bounds.py",
        "elif inner is not DATA and at - begin > MOST_SMALL:",
        "elif False:",
        f"{TESTS}/frontends/oip/test_grpc.py"
        "::test_a_message_that_would_grow_is_refused_before_it_is_parsed",
    ),
    Defence(
        "messages of gRPC in memory together",
        "service/frontends/oip/grpc_server.py",
        "if not await self._place():",
        "if False:",
        f"{TESTS}/frontends/oip/test_grpc.py"
        "::test_no_more_messages_are_in_memory_than_there_is_room_for",
    ),
    Defence(
        "JSON of Label Studio that grows",
        "service/requests/json_bodies.py",
        "if found > most:",
        "if False:",
        f"{TESTS}/frontends/labelstudio/test_label_studio.py"
        "::test_json_that_grows_is_refused_before_it_is_read",
    ),
    Defence(
        "long requests side by side",
        "service/requests/json_bodies.py",
        "SIDE_BY_SIDE)",
        "1000)",
        f"{TESTS}/frontends/labelstudio/test_label_studio.py"
        "::test_long_requests_wait_for_each_other_on_disk",
    ),
    Defence(
        "label maps beside what is decoded",
        "service/decoding/image_decoder.py",
        "lease.take(size)",
        "pass",
        f"{TESTS}/studio/test_drawing.py"
        "::test_label_maps_have_their_share_of_the_room_for_decoding",
    ),
    Defence(
        "GET of what costs work",
        ACCESS,
        'or scope["path"].startswith(WORKING)',
        "",
        f"{TESTS}/middleware/test_access.py"
        "::test_a_client_has_so_many_requests_in_flight_and_no_more",
    ),
    Defence(
        "a channel of another image",
        "service/studio/on_disk/studio_folder.py",
        "if (read_as := _id_of(target)) != identity:",
        "if False:",
        f"{TESTS}/studio/test_drawing.py"
        "::test_a_file_that_would_be_a_channel_of_another_image_is_not_taken",
    ),
    Defence(
        "a training that cannot be told",
        "service/frontends/monailabel/params.py",
        "allow_nan=False",
        "allow_nan=True",
        f"{TESTS}/frontends/monailabel/test_training.py"
        "::test_parameters_that_cannot_be_told_again_order_no_training",
    ),
    Defence(
        "breaking out of the process",
        "service/hosting/container_image.py",
        "user=USER_ID",
        "user=0",
        f"{TESTS}/test_build.py::test_an_image_ends_with_a_stage_that_only_serves",
    ),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", nargs="+", default=[""], help="words of what it is against")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    chosen = [each for each in DEFENCES if any(word in each.against for word in arguments.only)]
    rows, bars = [], []
    with tempfile.TemporaryDirectory(prefix="defences-") as folder:
        copy = Path(folder)
        for name in COPIED:
            ignored = shutil.ignore_patterns("__pycache__", "results")
            shutil.copytree(ROOT / name, copy / name, ignore=ignored)
        for file in ROOT.iterdir():
            if file.is_file():
                shutil.copy(file, copy)
        for each in chosen:
            said = without(each, copy)
            rows.append({"against": each.against, "test": each.test, "without it": said})
            print(f"{each.against}: {said}", flush=True)
            bars.append(bar(f"{each.against}: its test fails", said == "fails", 1, at_most=False))
    show(bars)
    if arguments.json:
        write("defences", rows, bars, ("pytest",), arguments.json)
    sys.exit(not all(each["holds"] for each in bars))


def without(defence: Defence, copy: Path) -> str:
    """What the test does in a copy of the code without the defence."""
    file = copy / defence.file
    code = file.read_text(encoding="utf-8")
    if defence.code not in code:
        return "is not there"
    file.write_text(code.replace(defence.code, defence.without, 1), encoding="utf-8")
    try:
        command = [sys.executable, "-m", "pytest", "-q", "-x", "--timeout", "300", defence.test]
        environment = {**os.environ, "PYTHONPATH": str(copy)}
        done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True)
    finally:
        file.write_text(code, encoding="utf-8")
    if done.returncode == TESTS_FAILED:
        return "fails"
    last = (done.stdout.strip().splitlines() or [""])[-1]
    return "passes" if not done.returncode else f"did not run: {last}"


if __name__ == "__main__":
    main()
