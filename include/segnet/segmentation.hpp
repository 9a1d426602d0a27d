// SPDX-License-Identifier: MIT
// Everything for telling classes apart on the CPU: SegNet, FCN, DeconvNet, U-Net, data with labels, training,
// scores.
#pragma once

#include <segnet/data/camvid.hpp>
#include <segnet/data/carvana_dataset.hpp>
#include <segnet/data/label_picture.hpp>
#include <segnet/data/labelled_dataset.hpp>
#include <segnet/data/loader.hpp>
#include <segnet/data/street.hpp>
#include <segnet/inference/class_prediction.hpp>
#include <segnet/io/tensorboard.hpp>
#include <segnet/loss/class_weights.hpp>
#include <segnet/metrics/boundary_f1.hpp>
#include <segnet/metrics/class_report.hpp>
#include <segnet/models/carvana.hpp>
#include <segnet/models/deconvnet.hpp>
#include <segnet/models/fcn.hpp>
#include <segnet/models/segnet.hpp>
#include <segnet/models/unet.hpp>
#include <segnet/models/vgg16_weights.hpp>
#include <segnet/network/checkpoint.hpp>
#include <segnet/network/network.hpp>
#include <segnet/network/summary.hpp>
#include <segnet/train/class_task.hpp>
#include <segnet/train/trainer.hpp>
