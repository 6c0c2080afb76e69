# SPDX-License-Identifier: GPL-2.0-or-later
# Makes a string for C of a text: run by meson.build.
s/[\\"]/\\&/g
s/.*/"&\\n"/
