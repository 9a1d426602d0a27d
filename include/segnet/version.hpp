// SPDX-License-Identifier: MIT
#pragma once

#define SEGNET_VERSION_MAJOR 0
#define SEGNET_VERSION_MINOR 1
#define SEGNET_VERSION_PATCH 0
#define SEGNET_VERSION "0.1.0"
