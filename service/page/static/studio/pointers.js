/** Fingers, pens and mice on the picture. */

export function usePointers(desk, hand) {
  const { view } = desk;
  const { canvas } = view;
  const pointers = new Map();

  function pinch() {
    const [a, b] = [...pointers.values()];
    return { x: (a.x + b.x) / 2, y: (a.y + b.y) / 2, apart: Math.hypot(a.x - b.x, a.y - b.y) };
  }

  canvas.addEventListener("pointerdown", (event) => {
    if (!desk.map) return;
    canvas.setPointerCapture(event.pointerId);
    pointers.set(event.pointerId, { x: event.offsetX, y: event.offsetY });
    view.cursor = null;
    if (pointers.size > 1) hand.cancelStroke(); // the first finger of a pinch draws nothing
    else if (hand.tool !== "move" && event.button === 0) hand.down(view.pixelAt(event), { shift: event.shiftKey });
  });
  canvas.addEventListener("pointermove", (event) => {
    const before = pointers.get(event.pointerId);
    if (!before) return;
    const now = { x: event.offsetX, y: event.offsetY };
    if (pointers.size > 1) {
      const was = pinch();
      pointers.set(event.pointerId, now);
      const is = pinch();
      view.zoom(is.apart / Math.max(1, was.apart), is);
      view.move(is.x - was.x, is.y - was.y);
      return;
    }
    pointers.set(event.pointerId, now);
    if (hand.tool === "move" || event.buttons & 4) view.move(now.x - before.x, now.y - before.y);
    else hand.drag(view.pixelAt(event));
  });
  ["pointerup", "pointercancel"].forEach((kind) => canvas.addEventListener(kind, (event) => {
    if (!pointers.delete(event.pointerId) || pointers.size) return;
    if (kind === "pointerup") hand.up(view.pixelAt(event));
    else hand.cancelStroke();
  }));
  canvas.addEventListener("wheel", (event) => {
    event.preventDefault();
    view.zoom(event.deltaY < 0 ? 1.15 : 1 / 1.15, { x: event.offsetX, y: event.offsetY });
  }, { passive: false });
  canvas.addEventListener("dblclick", () => hand.finish());
}
