"""A driver of NVIDIA's that has cards and runs nothing.

With it onnxruntime loads its real CUDA provider, up to the first call of CUDA's runtime: options,
fallbacks and messages are the real ones.
"""

import shutil
import subprocess
from pathlib import Path

import pytest

SOURCE = """
#include <stdlib.h>
#include <string.h>
int cuInit(unsigned flags) { return 0; }
int cuDeviceGetCount(int *count) { *count = atoi(getenv("FAKE_CARDS") ?: "1"); return 0; }
int cuDriverGetVersion(int *version) { *version = atoi(getenv("FAKE_CUDA") ?: "13000"); return 0; }
int cuTensorMapEncodeTiled() { return 999; }
int cuDeviceGet(int *device, int ordinal) { *device = ordinal; return 0; }
int cuDeviceGetName(char *name, int size, int device) {
  strncpy(name, getenv("FAKE_NAME") ?: "made up", size); return 0; }
int cuDeviceGetUuid_v2(unsigned char *uuid, int device) {
  memset(uuid, 16 + device, 16); return 0; }
int cuDeviceTotalMem_v2(size_t *bytes, int device) { *bytes = 24ul << 30; return 0; }
int cuDevicePrimaryCtxRetain(void **context, int device) { *context = &cuInit; return 0; }
int cuDevicePrimaryCtxRelease_v2(int device) { return 0; }
static int depth = 0;
int cuCtxPushCurrent_v2(void *context) { depth++; return context != &cuInit; }
int cuCtxPopCurrent_v2(void **context) { depth--; return 0; }
static size_t locked = 0, sizes[1024]; static void *places[1024]; static int pieces = 0;
int cuMemHostRegister_v2(void *place, size_t size, unsigned flags) {
  if (depth != 1) return 201;                       /* no context is current */
  if ((size_t)place % 4096 || getenv("FAKE_NO_PAGES")) return 1;
  for (int i = 0; i < pieces; i++) if (places[i] == place && sizes[i]) return 712;
  places[pieces] = place; sizes[pieces++] = size; locked += size; return 0; }
int cuMemHostUnregister(void *place) {
  if (depth != 1) return 201;
  for (int i = 0; i < pieces; i++)
    if (places[i] == place && sizes[i]) { locked -= sizes[i]; sizes[i] = 0; return 0; }
  return 713; }
size_t fake_locked_bytes() { return locked; }
"""


def fake_driver(folder: Path) -> dict[str, str]:
    """Environment of a process that finds the driver."""
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler here: apt-get install gcc")
    folder.mkdir(exist_ok=True)
    (folder / "driver.c").write_text(SOURCE)
    target = folder / "libcuda.so.1"
    command = [compiler, "-shared", "-fPIC", "-Wl,-soname,libcuda.so.1", "-o", str(target)]
    subprocess.run([*command, str(folder / "driver.c")], check=True)
    return {"LD_LIBRARY_PATH": str(folder)}
