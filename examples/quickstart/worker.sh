# Sums up what the ticker counts, and writes each sum into the file that $SUMS names.
echo "working on $(cat data/schema)"
while :; do
    sum=0
    while read -r tick; do sum=$((sum + tick)); done < data/ticks
    echo "$sum" >> "$SUMS"
    sleep 1
done
