# SPDX-License-Identifier: MIT
# shellcheck shell=bash disable=SC2034
# Read by examples/run, tests/run and benchmarks/run: the packages that each of them needs, and two functions.

segnet_build_packages="g++ make cmake libeigen3-dev nlohmann-json3-dev libstb-dev libprotozero-dev libcli11-dev"
# clang: the second compiler that the headers and the error messages are tested with.
segnet_test_packages="catch2 libbenchmark-dev clang clang-format python3"
segnet_benchmark_packages="libbenchmark-dev clang python3"

# install_packages PACKAGE...: installs those that are missing, after naming them; does nothing, and asks for
# no rights, when all are there. Elsewhere than on Debian it lists them and goes on: CMake says what it misses.
install_packages() {
  if ! command -v apt-get >/dev/null || ! command -v dpkg-query >/dev/null; then
    echo "This is not Debian. The build needs what these packages of Debian 12 hold: $*" >&2
    return 0
  fi
  local package missing=() as_root=()
  for package in "$@"; do
    [[ $(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null) == installed ]] ||
      missing+=("$package")
  done
  if [[ ${#missing[@]} -eq 0 ]]; then return 0; fi
  if [[ $(id -u) -ne 0 ]]; then
    if ! command -v sudo >/dev/null; then
      echo "These packages are missing, and there is no sudo to install them: ${missing[*]}" >&2
      return 1
    fi
    as_root=(sudo)
  fi
  echo "Installing from Debian's packages: ${missing[*]}"
  "${as_root[@]}" apt-get update --quiet=2
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
    apt-get install --quiet=2 --yes --no-install-recommends "${missing[@]}"
}

# Compilers to run at once: one per processor, but no more than the memory holds at 3 GiB each.
build_jobs() {
  local processors memory_kib jobs
  processors=$(nproc)
  memory_kib=$(awk '/^MemAvailable:/ { print $2 }' /proc/meminfo)
  jobs=$((memory_kib / (3 * 1024 * 1024)))
  if ((jobs > processors)); then jobs=$processors; fi
  if ((jobs < 1)); then jobs=1; fi
  echo "$jobs"
}
