// SPDX-License-Identifier: MIT
// The descriptors that a backend's primitives take. They stand in core/, because layers fill them too.
#pragma once

#include <segnet/core/primitives.hpp>
