/* SPDX-License-Identifier: MIT
 *
 * The published list of reasons why a request was refused. Every entry has its cause and its cure, so that a
 * log line, a manager and a document say the same thing. Codes never change meaning and are never reused.
 */
#ifndef DIOSIX_ERRORS_H
#define DIOSIX_ERRORS_H

/* X(name, code, cause, cure) */
#define DX_ERRORS(X)                                                                                                   \
    X(OK, 0, "no error", "nothing to do")                                                                              \
    X(NO_MEMORY, 1, "not enough free physical memory", "give the machine more memory or the capsules less")            \
    X(BAD_TREE, 2, "the device tree is malformed", "check the file with dtc and the loader that passed it")            \
    X(MISSING, 3, "something required is missing", "add the named property or node")                                   \
    X(UNKNOWN, 4, "an unknown name was used", "correct or remove the named property or node")                          \
    X(BAD_VALUE, 5, "a value is out of its range", "correct the named value")                                          \
    X(DUPLICATE, 6, "the same name is used twice", "rename one of the two")                                            \
    X(OVERLAP, 7, "two ranges overlap", "move one of the two named ranges")                                            \
    X(NOT_SUPPORTED, 8, "not supported yet", "leave the named property out")                                           \
    X(BAD_IMAGE, 9, "the kernel image's header cannot be honoured",                                                    \
      "check the image, its load address and the memory size")                                                         \
    X(TOO_LARGE, 10, "something does not fit", "give the capsule more memory or use a smaller image")                  \
    X(NO_PMP, 11, "this hart's memory protection cannot confine a capsule", "use a hart with enough PMP entries")      \
    X(HAS_H, 12, "pmp isolation is not safe on a hart with the H extension", "turn H off: -cpu rv64,h=off in QEMU")    \
    X(NO_HART, 13, "no hart can run this capsule", "check the machine's harts against what the capsule asks for")      \
    X(NO_CONSOLE, 14, "the device tree names no console that can be driven", "set stdout-path in /chosen")             \
    X(TOO_MANY, 15, "a fixed limit was exceeded", "use fewer of the named thing")                                      \
    X(UNALIGNED, 16, "an address or size is not aligned as needed", "round the named value")                           \
    X(NOT_FOUND, 17, "the named thing does not exist", "check the name")                                               \
    X(NO_HYP, 18, "no hart can serve hyp isolation", "ask for pmp, or for none: in QEMU H is -cpu rv64,h=on")          \
    X(WRONG_STATE, 19, "the capsule is in no state for that", "look at its state; start, stop or resume it first")     \
    X(DENIED, 20, "that is not allowed", "ask whoever may")

#define DX_ERROR_ENUM(name, code, cause, cure) DX_##name = (code),
enum dx_error { DX_ERRORS(DX_ERROR_ENUM) };
#undef DX_ERROR_ENUM

#endif
