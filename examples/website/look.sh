# Says once every $EVERY seconds whether the site at $URL answers.
while :; do
    if python3 get.py "$URL" | grep -q "<h1>"; then
        echo "$SITE_NAME answers"
    else
        echo "$SITE_NAME does not answer"
    fi
    sleep "$EVERY"
done
