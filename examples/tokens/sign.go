// Prints a token for a user, signed as your backend would: go run sign.go USER_ID USERNAME TENANT_ID
package main

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"log"
	"os"
	"strings"
	"time"
)

const lifetime = 10 * time.Minute // the client asks for the next token in time

type Claims struct {
	UserID   string `json:"user_id"`
	Username string `json:"username"`
	TenantID string `json:"tenant_id,omitempty"`
	IssuedAt int64  `json:"iat"`
	Expires  int64  `json:"exp"`
}

// SignToken returns a token that Hermes accepts.
func SignToken(secret []byte, userID, username, tenantID string) (string, error) {
	now := time.Now()
	claims, err := json.Marshal(Claims{userID, username, tenantID, now.Unix(), now.Add(lifetime).Unix()})
	if err != nil {
		return "", err
	}
	encode := base64.RawURLEncoding.EncodeToString
	text := encode([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + encode(claims)
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(text))
	return text + "." + encode(mac.Sum(nil)), nil
}

func main() {
	log.SetFlags(0)
	if len(os.Args) != 4 {
		log.Fatal("usage: go run sign.go USER_ID USERNAME TENANT_ID")
	}
	path := cmp.Or(os.Getenv("HERMES_JWT_SECRET_FILE"), os.Getenv("HOME")+"/.local/state/hermes/jwt-secret")
	secret, err := os.ReadFile(path)
	if err != nil {
		log.Fatal(err)
	}
	// Hermes ignores a newline at the end of the file, and so must you.
	token, err := SignToken([]byte(strings.TrimSuffix(string(secret), "\n")), os.Args[1], os.Args[2], os.Args[3])
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(token)
}
