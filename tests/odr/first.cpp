// SPDX-License-Identifier: MIT
#include "all_headers.hpp"

const char* version_seen_by_first() { return SEGNET_VERSION; }
