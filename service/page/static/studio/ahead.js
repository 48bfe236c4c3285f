/** Lets the model look at the images while somebody draws, so that the next one is known when it is asked for. */

import { fetchJson } from "../asking/api.js";

let lookedAtBy = null;

/** Once for each model; each answer says how many images it has not come to. */
export async function lookAhead({ model, isTraining }) {
  const label = model ? `${model.name}:${model.latest}` : null;
  if (isTraining || label === lookedAtBy) return;
  lookedAtBy = label;
  if (!label) return;
  let before = Infinity;
  try {
    while (label === lookedAtBy) {
      const { not_seen: unseen } = await fetchJson("studio/next");
      if (!unseen || unseen >= before) return; // what cannot be read is never seen
      before = unseen;
    }
  } catch {
    lookedAtBy = null; // the service is away: once more when it is back
  }
}
