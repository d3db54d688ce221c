"""Runs MiniStack in the foreground until standard input closes, and takes its functions with it.

Five habits of ours on top of MiniStack's own:
- Whoever holds the other end of standard input may be killed in any way: the pipe closes, and the whole process
  group ends. Nothing here is worth saving.
- With AUTH=true functions may do what their roles allow and no more. A key that belongs to no function's session is
  the operator's, whatever it is, so any made-up credentials work from outside.
- A streamed answer is bytes: MiniStack 1.5.33 reads every answer as UTF-8 and fails on a recording.
- An API's CORS settings are those of the template: MiniStack 1.5.33 keeps CloudFormation's AllowOrigins and looks for
  allowOrigins.
- What functions print goes to the file FUNCTIONS_LOG as well, a line each behind the log group's name.
"""

import os
import signal
import sys
import threading

from ministack.core import iam_evaluator, lambda_runtime
from ministack.services import apigateway, lambda_svc, sts


def end_with_the_pipe():
    # By the descriptor: a buffered read would hold sys.stdin's lock.
    while os.read(0, 4096):
        pass
    # Functions first and collected, so that none stays behind as a zombie; then all that may have started meanwhile.
    ending = threading.Thread(target=lambda_runtime.reset, daemon=True)
    ending.start()
    ending.join(timeout=5)
    os.killpg(os.getpgid(0), signal.SIGKILL)


threading.Thread(target=end_with_the_pipe, daemon=True).start()

iam_evaluator.is_root_access_key = lambda key: key not in sts._sessions

build_handler_class = lambda_runtime.ProvidedWorker._build_handler_class


def build_streaming_handler_class(worker, generation, pending):
    class StreamingHandler(build_handler_class(worker, generation, pending)):
        def do_POST(self):
            answer = lambda_runtime._INVOCATION_RESULT_RE.search(self.path)
            if answer and self.headers.get("Lambda-Runtime-Function-Response-Mode") == "streaming":
                kept = worker._record_result(generation, answer.group(1), answer.group(2), self._read_body())
                self._respond(202 if kept else 400)
            else:
                super().do_POST()

    return StreamingHandler


lambda_runtime.ProvidedWorker._build_handler_class = build_streaming_handler_class


def with_camel_case_settings(answer):
    def camel_case(settings):
        return {name[:1].lower() + name[1:]: value for name, value in settings.items()}

    return lambda settings, origin: answer(camel_case(settings or {}), origin)


apigateway._cors_response_headers = with_camel_case_settings(apigateway._cors_response_headers)
apigateway._cors_preflight_response = with_camel_case_settings(apigateway._cors_preflight_response)

functions_log = open(os.environ["FUNCTIONS_LOG"], "a", buffering=1, encoding="utf-8")
emit_lambda_logs = lambda_svc._emit_lambda_logs


def emit_and_keep(func, request_id, log_text, *args, **kwargs):
    config = func.get("config") or func
    group = (config.get("LoggingConfig") or {}).get("LogGroup") or config.get("FunctionName", "?")
    for line in (log_text or "").splitlines():
        functions_log.write(f"{group.rsplit('/', 1)[-1]} {line}\n")
    emit_lambda_logs(func, request_id, log_text, *args, **kwargs)


lambda_svc._emit_lambda_logs = emit_and_keep

# Only now: it takes hold of what was replaced above.
from ministack.app import main  # noqa: E402

sys.argv = ["ministack"]
main()
