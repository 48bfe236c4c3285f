/** Images as jobs of the service: sent, followed, fetched, and deleted there when they are here. */

import { Problem, answerIn, ask, postImages, wishes } from "./api.js";
import { t } from "../texts.js";

const RECONNECTS = 5;
const RECONNECT_MS = 2000;

/** Files of an image as `segment` gives them; `onStatus` hears how far the job is. */
export async function segmentAsJob(files, { formats, split, onStatus, ...options }) {
  const { signal } = options;
  const { blob } = await postImages(`jobs?${wishes(formats, split)}`, files, options);
  const job = JSON.parse(await blob.text());
  const path = `jobs/${job.id}`; // relative to the page, wherever a proxy puts it
  const forget = () => ask(path, { method: "DELETE", keepalive: true }).catch(() => {});
  window.addEventListener("pagehide", forget);
  try {
    onStatus?.(job);
    await followed(path, { signal, onStatus });
    return await answerIn(await ask(`${path}/result`, { signal }), formats); // a failed job answers its problem
  } catch (error) {
    throw error.status === 404 && !error.isJob ? gone() : error;
  } finally {
    window.removeEventListener("pagehide", forget);
    forget();
  }
}

/** Waits for the end of a job; a connection that breaks is opened again. */
async function followed(path, { signal, onStatus }) {
  for (let left = RECONNECTS; ; left -= 1) {
    try {
      for await (const job of events(await ask(`${path}/events`, { signal }))) {
        left = RECONNECTS;
        if (job.state === "deleted") throw gone();
        onStatus?.(job);
        if (job.state === "done" || job.state === "failed") return;
      }
    } catch (error) {
      const broke = error instanceof TypeError || error.status === 0;
      if (signal?.aborted || !broke || left === 0) throw error;
    }
    await new Promise((resolve) => setTimeout(resolve, RECONNECT_MS));
  }
}

/** A job that the service no longer knows, as after it was started anew: it may be sent again. */
function gone() {
  return Object.assign(new Problem(404, t("jobGone")), { isJob: true });
}

/** The data of server-sent events. EventSource could not send a key. */
async function* events(response) {
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let text = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    text += value;
    const whole = text.split("\n\n");
    text = whole.pop();
    for (const event of whole) {
      const line = event.split("\n").find((each) => each.startsWith("data:"));
      if (line) yield JSON.parse(line.slice(5));
    }
  }
}
