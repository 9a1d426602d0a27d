// SPDX-License-Identifier: MIT
#include "all_headers.hpp"

#include <string_view>

const char* version_seen_by_first();

int main() { return std::string_view(version_seen_by_first()) == SEGNET_VERSION ? 0 : 1; }
