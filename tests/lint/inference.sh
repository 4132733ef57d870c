#!/bin/sh
# The inference library neither holds nor asks for training code. $LIBREELM: the archive.
[ -f "$LIBREELM" ] || {
    echo "LIBREELM is '$LIBREELM', expected the built libreelm.a"
    exit 1
}
symbols=$(nm "$LIBREELM" 2>/dev/null | awk 'NF >= 2 { print $NF }')
echo "$symbols" | grep -q '^rlm_tensor_new$' || {
    echo "$LIBREELM: no symbol of the layers seen"
    exit 1
}
if echo "$symbols" | grep -E 'backward|adjoint|adamw|rlm_train|rlm_loss|rlm_optim'; then
    echo "$LIBREELM refers to training code"
    exit 1
fi
