// SPDX-License-Identifier: MIT
// Everything for the Carvana job on the CPU: networks, data, training, inference, scores.
#pragma once

#include <segnet/data/carvana_dataset.hpp>
#include <segnet/data/loader.hpp>
#include <segnet/data/overlay.hpp>
#include <segnet/data/synthetic.hpp>
#include <segnet/inference/evaluation.hpp>
#include <segnet/inference/segmenter.hpp>
#include <segnet/io/tensorboard.hpp>
#include <segnet/metrics/report.hpp>
#include <segnet/models/carvana.hpp>
#include <segnet/network/checkpoint.hpp>
#include <segnet/network/checkpoint_header.hpp>
#include <segnet/network/network.hpp>
#include <segnet/network/summary.hpp>
#include <segnet/train/trainer.hpp>
