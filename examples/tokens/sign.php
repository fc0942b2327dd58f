<?php

// Prints a token for a user, signed as your backend would: php sign.php USER_ID USERNAME TENANT_ID

declare(strict_types=1);

const LIFETIME_S = 600; // the client asks for the next token in time

function encode(string $bytes): string
{
    return rtrim(strtr(base64_encode($bytes), '+/', '-_'), '=');
}

/** @param array{user_id: string, username: string, tenant_id?: string} $user */
function signToken(string $secret, array $user): string
{
    $now = time();
    $claims = $user + ['iat' => $now, 'exp' => $now + LIFETIME_S];
    $text = encode('{"alg":"HS256","typ":"JWT"}') . '.' . encode(json_encode($claims, JSON_THROW_ON_ERROR));
    return $text . '.' . encode(hash_hmac('sha256', $text, $secret, true));
}

$path = getenv('HERMES_JWT_SECRET_FILE') ?: getenv('HOME') . '/.local/state/hermes/jwt-secret';
$secret = preg_replace('/\n\z/', '', file_get_contents($path)); // Hermes ignores a newline at the end
[, $userId, $username, $tenantId] = $argv;
echo signToken($secret, ['user_id' => $userId, 'username' => $username, 'tenant_id' => $tenantId]), "\n";
