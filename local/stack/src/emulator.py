"""Runs MiniStack in the foreground until standard input closes, and takes its functions with it.

Habits of ours on top of MiniStack's own:
- Whoever holds the other end of standard input may be killed in any way: the pipe closes, and the whole process
  group ends. Nothing here is worth saving.
- With AUTH=true functions may do what their roles allow and no more. A key that belongs to no function's session is
  the operator's, whatever it is, so any made-up credentials work from outside.
- A streamed answer is bytes: MiniStack 1.5.33 reads every answer as UTF-8 and fails on a recording.
- An API's CORS settings are those of the template: MiniStack 1.5.33 keeps CloudFormation's AllowOrigins and looks for
  allowOrigins.
- A signature covers the name in X-Forwarded-Host, where a front door gives one: it changes Host.
- A WebSocket handshake is refused with the status that the $connect function answered; MiniStack 1.5.33 makes it 403.
- What a function answers to a message goes nowhere, unless its route has a route response, and a function that fails
  is told to the caller without the reason; MiniStack 1.5.33 sends both as they are.
- Messages of a socket are handled side by side; MiniStack 1.5.33 lets each wait for the function of the one before.
- $disconnect hears of the caller's close code; MiniStack 1.5.33 says 1006 whatever it was.
- What functions print goes to the file FUNCTIONS_LOG as well, a line each behind the log group's name.
"""

import asyncio
import contextvars
import json
import os
import signal
import sys
import threading

from hypercorn.protocol import ws_stream
from ministack.core import iam_evaluator, lambda_runtime, sigv4
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

build_canonical_headers = sigv4.build_canonical_headers


def build_headers_as_signed(headers, signed_headers):
    name = headers.get("x-forwarded-host")
    return build_canonical_headers({**headers, "host": name} if name else headers, signed_headers)


sigv4.build_canonical_headers = build_headers_as_signed

invoke_ws_lambda = apigateway._invoke_ws_lambda
handle_websocket = apigateway.handle_websocket
refuse_handshake = contextvars.ContextVar("refuse_handshake")


async def invoke_like_api_gateway(api_id, account_id, region, route, stage, connection_id, event_type, request_id,
                                  *args, **kwargs):
    invocation = invoke_ws_lambda(api_id, account_id, region, route, stage, connection_id, event_type, request_id,
                                  *args, **kwargs)
    if event_type == "MESSAGE" and not route.get("routeResponseSelectionExpression"):
        # Messages do not wait for each other.
        under_way.add(task := asyncio.create_task(tell_of_failure(invocation, connection_id, request_id)))
        task.add_done_callback(under_way.discard)
        return None
    answer = await invocation
    status = int((answer or {}).get("statusCode", 200))
    if event_type == "CONNECT" and not 200 <= status < 300:
        refuse_handshake.set((status, connection_id, request_id))
    return answer


under_way = set()


async def tell_of_failure(invocation, connection_id, request_id):
    answer = await invocation
    connection = apigateway._ws_connections.get(connection_id)
    # A failed function is 502 or 500 here; ours answer neither themselves.
    if connection and int((answer or {}).get("statusCode", 200)) >= 500:
        ids = {"connectionId": connection_id, "requestId": request_id}
        await connection["outbox"].put(json.dumps({"message": "Internal server error", **ids}))


async def handle_like_api_gateway(scope, receive, send, *args, **kwargs):
    refuse_handshake.set(None)

    async def send_with_status(message):
        refused = refuse_handshake.get()
        if refused and message["type"] == "websocket.close":
            status, connection_id, request_id = refused
            text = "Internal server error" if status >= 500 else "Forbidden"
            await apigateway._refuse_ws_handshake(scope, send, status, text, connection_id, request_id)
        else:
            await send(message)

    await handle_websocket(scope, receive, send_with_status, *args, **kwargs)


apigateway._invoke_ws_lambda = invoke_like_api_gateway
apigateway.handle_websocket = handle_like_api_gateway

handle_stream = ws_stream.WSStream.handle
send_stream_event = ws_stream.WSStream._send_wsproto_event


async def send_and_remember(stream, event):
    if isinstance(event, ws_stream.CloseConnection) and not hasattr(stream, "close_code"):
        stream.close_code = event.code
    await send_stream_event(stream, event)


async def handle_with_close_code(stream, event):
    code = getattr(stream, "close_code", None)
    if isinstance(event, ws_stream.StreamClosed) and code and not stream.closed and stream.app_put is not None:
        stream.closed = True
        await stream.app_put({"type": "websocket.disconnect", "code": code})
    else:
        await handle_stream(stream, event)


ws_stream.WSStream._send_wsproto_event = send_and_remember
ws_stream.WSStream.handle = handle_with_close_code

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
