# exit: 4
# stdout: nothing
# stderr: *text: "file" is not a plain file name*
# A directory from elsewhere writes nothing outside the copy, nor is what it lacks or what has another sum copied;
# a copy that fails is not there.
cp -r "$model" bad
echo evil >evil.sh
sed -i 's,"text.model","../evil.sh",' bad/config.json
mkdir -p deep
wrong() { # EXPECTED TEXT
  $reelm convert bad --weights bf16 -o deep/out 2>log
  [ $? -eq 4 ] && grep -q "$1" log && [ -z "$(ls -A deep)" ] || exit 99
}
wrong "is not a plain file name"
cp "$model/config.json" bad/config.json
rm bad/text.model
wrong "text.model: missing"
echo x >bad/text.model
wrong "text.model: sha256 is"
cp "$model/text.model" bad/text.model
rm bad/video.safetensors
wrong "video.safetensors: missing"
sed -i 's,"text.model","../evil.sh",' bad/config.json
cp "$model/video.safetensors" bad
$reelm convert bad --weights bf16 -o deep/out
